//! SEV-SNP: the report, its endorsement key, and the chain above it.

mod endorsement;
mod report;
mod table;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

use self::report::Report;
use self::table::Table;
use crate::binding::ReportBinding;
use crate::chain::certificate::{KeyKind, valid_at};
use crate::chain::{Certificate, RevocationList};
use crate::claims::{SnpClaims, SnpProduct, SnpSigningKey};
use crate::collateral::{SnpCollateral, SnpNeeded, SnpRevocation};
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
        product: report.product,
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
    now: UnixSeconds,
) -> Result<SnpClaims, Refused> {
    // 2. Fields.
    let report = Report::read(evidence).map_err(|reason| Step::Fields.refuse(reason))?;
    let table = Table::read(report.behind).map_err(|reason| Step::Fields.refuse(reason))?;

    // 3. Chain.
    let chain = Chain::verify(roots, &report, &table, collateral, now)
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
                .is_not_revoked(der, now)
                .map_err(|reason| Step::Collateral.refuse(reason))?;
            true
        }
    };

    // 7. Platform.
    let tcb = report
        .tcb(chain.product)
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
        let (role, issuer, in_table) = match report.signing_key {
            SnpSigningKey::Vcek => (CertificateRole::Vcek, CertificateRole::Ask, table.vcek),
            SnpSigningKey::Vlek => (CertificateRole::Vlek, CertificateRole::Asvk, table.vlek),
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
        let root = roots.ark(product).ok_or(Reason::NoRoot {
            certificate: CertificateRole::Ark,
            product: product.as_str(),
        })?;
        if let Some(ark) = ark {
            Certificate::parse(CertificateRole::Ark, ark)?.is_root(root)?;
        }
        intermediate.is_issued_by(root)?;
        named(&intermediate, intermediate_name(product, report.signing_key))?;
        endorsement.is_issued_by(&intermediate)?;
        named(
            &endorsement,
            match report.signing_key {
                SnpSigningKey::Vcek => "SEV-VCEK",
                SnpSigningKey::Vlek => "SEV-VLEK",
            },
        )?;
        endorsement.has_key(KeyKind::P384)?;
        if endorsement.is_authority() {
            return Err(Reason::UnexpectedAuthority { certificate: role });
        }
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

    /// One list of the root names what the root and the intermediate issued and took back.
    fn is_not_revoked(&self, list: &[u8], now: UnixSeconds) -> Result<(), Reason> {
        let list = RevocationList::parse(ListName::Amd, list)?;
        list.is_issued_by(self.root)?;
        valid_at(now, list.dated())?;
        list.does_not_name(&self.intermediate)
    }
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
