//! SEV-SNP: the report, its endorsement key, and the chain above it.

mod endorsement;
pub(crate) mod published;
mod report;
mod table;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

use self::report::Report;
pub(crate) use self::table::Table;
use crate::binding::ReportBinding;
use crate::chain::certificate::{KeyKind, valid_at};
use crate::chain::{Certificate, RevocationList};
use crate::claims::{SnpClaims, SnpProduct, SnpSigningKey, SnpTcb};
use crate::collateral::{SnpCollateral, SnpNeeded, SnpRevocation};
use crate::freshness::AsOf;
use crate::moment::UnixSeconds;
use crate::reason::{CertificateRole, ListName, Reason, Refused, Step};
use crate::roots::Roots;

const POLICY_MUST_BE_ONE: u64 = 1 << 17;
const POLICY_MIGRATE_MA: u64 = 1 << 18;
const POLICY_DEBUG: u64 = 1 << 19;
const POLICY_RESERVED: u64 = !((1 << 26) - 1);

/// What a report asks for, by fields that are not verified yet.
pub(crate) fn needed(evidence: &[u8], binding: &ReportBinding) -> Result<SnpNeeded, Refused> {
    let report = Report::read(evidence).map_err(|reason| Step::Fields.refuse(reason))?;
    let table = Table::read(report.behind).map_err(|reason| Step::Fields.refuse(reason))?;
    bound(&report, binding)?;
    Ok(SnpNeeded {
        product: report.product.or_else(|| product_of_table(&report, &table)),
        signing_key: report.signing_key,
        chip_id: report.chip_id,
        reported_tcb: report.reported_tcb,
        endorsement_key_present: match report.signing_key {
            SnpSigningKey::Vcek => table.vcek.is_some(),
            SnpSigningKey::Vlek => table.vlek.is_some(),
        },
        intermediate_present: table.intermediate.is_some(),
    })
}

/// Steps 2 to 9 of [`crate::verify`].
pub(crate) fn verify(
    roots: &Roots,
    evidence: &[u8],
    binding: &ReportBinding,
    collateral: &SnpCollateral,
    as_of: AsOf,
) -> Result<SnpClaims, Refused> {
    // 2. Fields.
    let report = Report::read(evidence).map_err(|reason| Step::Fields.refuse(reason))?;
    let table = Table::read(report.behind).map_err(|reason| Step::Fields.refuse(reason))?;

    // 3. Chain.
    let chain = Chain::verify(roots, &report, &table, collateral, as_of.now)
        .map_err(|reason| Step::Chain.refuse(reason))?;

    // 4. Signature.
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &chain.endorsement.public_key)
        .verify(report.signed, &report.signature)
        .map_err(|_| {
            Step::Signature.refuse(Reason::ReportSignature {
                signer: chain.endorsement.role,
            })
        })?;

    // 5. Binding.
    bound(&report, binding)?;

    // 6. Collateral.
    let revocation_checked = match collateral.revocation() {
        SnpRevocation::NotChecked => false,
        SnpRevocation::Checked(der) => {
            chain
                .is_not_revoked(der, as_of)
                .map_err(|reason| Step::Collateral.refuse(reason))?;
            true
        }
    };

    // 7. Platform.
    let tcb = SnpTcb::read(chain.product, &report.reported_tcb)
        .and_then(|tcb| {
            endorsement::is_of_this_platform(&chain.endorsement, chain.product, &tcb, &report.chip_id)?;
            Ok(tcb)
        })
        .map_err(|reason| Step::Platform.refuse(reason))?;

    // 9. Guest.
    guest(&report).map_err(|reason| Step::Guest.refuse(reason))?;

    Ok(SnpClaims {
        product: chain.product,
        signing_key: report.signing_key,
        tcb,
        measurement: report.measurement,
        host_data: report.host_data,
        id_key_digest: report.id_key_digest,
        author_key_digest: report.author_key_digest,
        family_id: report.family_id,
        image_id: report.image_id,
        guest_svn: report.guest_svn,
        policy: report.policy,
        debug: report.policy & POLICY_DEBUG != 0,
        migration_agent_allowed: report.policy & POLICY_MIGRATE_MA != 0,
        vmpl: report.vmpl,
        reported_tcb: report.reported_tcb,
        committed_tcb: report.committed_tcb,
        launch_tcb: report.launch_tcb,
        revocation_checked,
        chip_id: report.chip_id,
        report_data: report.report_data,
    })
}

fn bound(report: &Report<'_>, binding: &ReportBinding) -> Result<(), Refused> {
    if report.report_data == binding.report_data() {
        return Ok(());
    }
    Err(Step::Binding.refuse(Reason::Binding {
        found: hex::encode(report.report_data),
        expected: *binding,
    }))
}

fn guest(report: &Report<'_>) -> Result<(), Reason> {
    if report.vmpl > 3 {
        return Err(Reason::Vmpl { found: report.vmpl });
    }
    if report.policy & POLICY_MUST_BE_ONE == 0 || report.policy & POLICY_RESERVED != 0 {
        return Err(Reason::Policy {
            found: format!("{:#018x}", report.policy),
        });
    }
    Ok(())
}

/// The chain of one report, verified to the pinned root.
struct Chain<'r> {
    product: SnpProduct,
    root: &'r Certificate,
    intermediate: Certificate,
    endorsement: Certificate,
}

impl<'r> Chain<'r> {
    fn verify(
        roots: &'r Roots,
        report: &Report<'_>,
        table: &Table<'_>,
        collateral: &SnpCollateral,
        now: UnixSeconds,
    ) -> Result<Self, Reason> {
        let (role, issuer) = roles(report.signing_key);
        let in_table = match report.signing_key {
            SnpSigningKey::Vcek => table.vcek,
            SnpSigningKey::Vlek => table.vlek,
        };
        let (intermediate, ark) = match collateral.authorities() {
            [] => (table.intermediate, table.ark),
            [intermediate] => (Some(intermediate.as_slice()), None),
            [intermediate, ark] => (Some(intermediate.as_slice()), Some(ark.as_slice())),
            more => {
                return Err(Reason::ChainLength {
                    chain: "certificate chain of the endorsement key",
                    expected: "1 or 2",
                    found: more.len(),
                });
            }
        };
        let endorsement = required(role, collateral.endorsement_key().or(in_table))?;
        let intermediate = required(issuer, intermediate)?;

        let product = match report.product {
            Some(product) => product,
            None => endorsement::product(&endorsement)?,
        };
        let root = pinned(roots, product, ark)?;
        is_intermediate(&intermediate, root, product, report.signing_key)?;
        is_endorsement(&endorsement, &intermediate, report.signing_key)?;
        for certificate in [root, &intermediate, &endorsement] {
            valid_at(now, certificate.dated())?;
        }
        Ok(Self {
            product,
            root,
            intermediate,
            endorsement,
        })
    }

    fn is_not_revoked(&self, list: &[u8], as_of: AsOf) -> Result<(), Reason> {
        list_of(self.root, list, as_of)?.does_not_name(&self.intermediate)
    }
}

/// See [`crate::verify::check_collateral`]: whatever of the chain is there.
pub(crate) fn check_collateral(
    roots: &Roots,
    collateral: &SnpCollateral,
    needed: &SnpNeeded,
    as_of: AsOf,
) -> Result<(), Refused> {
    let (role, issuer) = roles(needed.signing_key);
    let (intermediate, endorsement, root, product) = (|| {
        let product = needed.product.ok_or_else(|| Reason::UnknownProduct {
            found: "none".to_owned(),
        })?;
        let root = pinned(roots, product, collateral.authorities().get(1).map(Vec::as_slice))?;
        valid_at(as_of.now, root.dated())?;
        let intermediate = collateral
            .authorities()
            .first()
            .map(|der| Certificate::parse(issuer, der))
            .transpose()?;
        if let Some(intermediate) = &intermediate {
            is_intermediate(intermediate, root, product, needed.signing_key)?;
            valid_at(as_of.now, intermediate.dated())?;
        }
        let endorsement = collateral
            .endorsement_key()
            .map(|der| Certificate::parse(role, der))
            .transpose()?;
        if let (Some(intermediate), Some(endorsement)) = (&intermediate, &endorsement) {
            is_endorsement(endorsement, intermediate, needed.signing_key)?;
            valid_at(as_of.now, endorsement.dated())?;
        }
        Ok((intermediate, endorsement, root, product))
    })()
    .map_err(|reason| Step::Chain.refuse(reason))?;
    if let SnpRevocation::Checked(der) = collateral.revocation() {
        let list = list_of(root, der, as_of).map_err(|reason| Step::Collateral.refuse(reason))?;
        if let Some(intermediate) = &intermediate {
            list.does_not_name(intermediate)
                .map_err(|reason| Step::Collateral.refuse(reason))?;
        }
    }
    if let Some(endorsement) = &endorsement {
        SnpTcb::read(product, &needed.reported_tcb)
            .and_then(|tcb| endorsement::is_of_this_platform(endorsement, product, &tcb, &needed.chip_id))
            .map_err(|reason| Step::Platform.refuse(reason))?;
    }
    Ok(())
}

/// The pinned root of a product line, and that the one sent along, if any, is the same.
fn pinned<'r>(roots: &'r Roots, product: SnpProduct, sent: Option<&[u8]>) -> Result<&'r Certificate, Reason> {
    let root = roots.ark(product).ok_or(Reason::NoRoot {
        certificate: CertificateRole::Ark,
        product: product.as_str(),
    })?;
    if let Some(ark) = sent {
        Certificate::parse(CertificateRole::Ark, ark)?.is_root(root)?;
    }
    Ok(root)
}

fn roles(key: SnpSigningKey) -> (CertificateRole, CertificateRole) {
    match key {
        SnpSigningKey::Vcek => (CertificateRole::Vcek, CertificateRole::Ask),
        SnpSigningKey::Vlek => (CertificateRole::Vlek, CertificateRole::Asvk),
    }
}

fn is_intermediate(
    intermediate: &Certificate,
    root: &Certificate,
    product: SnpProduct,
    key: SnpSigningKey,
) -> Result<(), Reason> {
    intermediate.is_issued_by(root)?;
    named(intermediate, intermediate_name(product, key))
}

fn is_endorsement(
    endorsement: &Certificate,
    intermediate: &Certificate,
    key: SnpSigningKey,
) -> Result<(), Reason> {
    endorsement.is_issued_by(intermediate)?;
    named(endorsement, endorsement_name(key))?;
    endorsement.has_key(KeyKind::P384)?;
    if endorsement.is_authority() {
        return Err(Reason::UnexpectedAuthority {
            certificate: endorsement.role,
        });
    }
    Ok(())
}

/// The list of the root, which names what the root and the intermediate issued and took back.
fn list_of(root: &Certificate, list: &[u8], as_of: AsOf) -> Result<RevocationList, Reason> {
    let list = RevocationList::parse(ListName::Amd, list)?;
    list.is_issued_by(root)?;
    as_of.in_force(list.dated())?;
    Ok(list)
}

/// Reports of version 2 do not name their product line, but a certificate behind them may.
fn product_of_table(report: &Report<'_>, table: &Table<'_>) -> Option<SnpProduct> {
    let (role, der) = match report.signing_key {
        SnpSigningKey::Vcek => (CertificateRole::Vcek, table.vcek?),
        SnpSigningKey::Vlek => (CertificateRole::Vlek, table.vlek?),
    };
    endorsement::product(&Certificate::parse(role, der).ok()?).ok()
}

fn required(role: CertificateRole, der: Option<&[u8]>) -> Result<Certificate, Reason> {
    let der = der.ok_or(Reason::CertificateMissing { certificate: role })?;
    Certificate::parse(role, der)
}

fn named(certificate: &Certificate, expected: &'static str) -> Result<(), Reason> {
    let found = certificate.common_name();
    if found.as_deref() == Some(expected) {
        return Ok(());
    }
    Err(Reason::AnotherSubject {
        certificate: certificate.role,
        found: found.unwrap_or_else(|| "none".to_owned()),
        expected,
    })
}

fn endorsement_name(key: SnpSigningKey) -> &'static str {
    match key {
        SnpSigningKey::Vcek => "SEV-VCEK",
        SnpSigningKey::Vlek => "SEV-VLEK",
    }
}

fn intermediate_name(product: SnpProduct, key: SnpSigningKey) -> &'static str {
    match (product, key) {
        (SnpProduct::Milan, SnpSigningKey::Vcek) => "SEV-Milan",
        (SnpProduct::Genoa, SnpSigningKey::Vcek) => "SEV-Genoa",
        (SnpProduct::Turin, SnpSigningKey::Vcek) => "SEV-Turin",
        (SnpProduct::Milan, SnpSigningKey::Vlek) => "SEV-VLEK-Milan",
        (SnpProduct::Genoa, SnpSigningKey::Vlek) => "SEV-VLEK-Genoa",
        (SnpProduct::Turin, SnpSigningKey::Vlek) => "SEV-VLEK-Turin",
    }
}
