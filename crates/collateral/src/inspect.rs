//! What a file of collateral is, for people.

use marblerun_attestation::collateral::{CollateralNeeded, DcapTee, SnpRevocation};
use marblerun_attestation::verify::check_collateral;
use marblerun_attestation::{Collateral, FreshnessPolicy, SnpCollateral, TrustRoots, UnixSeconds};

use crate::item::Item;
use crate::piece::{Key, SnpEndorsementKey, kind};
use crate::snp;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// What it is.
    pub what: &'static str,
    /// For which platform.
    pub platform: String,
    /// When the youngest part of it was made.
    pub issued: UnixSeconds,
    /// When the first part of it ends.
    pub until: UnixSeconds,
    /// Everything in it that has a period of validity: name, from, until.
    pub parts: Vec<(String, UnixSeconds, UnixSeconds)>,
    /// `Err`: why it does not hold below the pinned roots; dates apart.
    pub signed: Result<(), String>,
}

impl Inspected {
    /// Whether it is in force, in words.
    pub fn status(&self, now: UnixSeconds) -> String {
        if now < self.issued {
            format!("not in force before {}", self.issued)
        } else if now > self.until {
            format!("out of date since {}", self.until)
        } else {
            "in force".to_owned()
        }
    }
}

impl Item {
    /// Looks at a file. The chain of an endorsement key is looked for `beside` it.
    pub fn inspect<R: TrustRoots>(&self, beside: &[Self], roots: &R) -> Inspected {
        match self {
            Self::Dcap { collateral, is_for } => {
                let parts: Vec<_> = collateral
                    .dated()
                    .into_iter()
                    .map(|(what, from, until)| (what.to_string(), from, until))
                    .collect();
                let what = match is_for.tee {
                    DcapTee::Sgx => "collateral for SGX",
                    DcapTee::Tdx => "collateral for TDX",
                };
                let platform = format!(
                    "FMSPC {}, {} CA",
                    hex::encode(is_for.fmspc),
                    is_for.authority.as_str()
                );
                let collateral = Collateral::Dcap(collateral.clone());
                inspected(what, platform, parts, |as_of| {
                    check(roots, &collateral, &CollateralNeeded::Dcap(*is_for), as_of)
                })
            }
            Self::SnpChain {
                pem,
                product,
                signing_key,
                from,
                until,
            } => {
                let what = "certificate chain of a product line";
                let platform = format!("{product}, for {} certificates", kind(*signing_key));
                inspected(
                    what,
                    platform,
                    vec![("certificates".to_owned(), *from, *until)],
                    |as_of| {
                        let collateral = SnpCollateral::new(SnpRevocation::NotChecked)
                            .with_authorities(pem)
                            .map_err(|error| error.to_string())?;
                        let needed = snp::needed(&Key::SnpLine(*product, *signing_key));
                        check(roots, &Collateral::Snp(collateral), &needed, as_of)
                    },
                )
            }
            Self::SnpList { der, info } => {
                let parts = vec![("CRL of the ARK".to_owned(), info.from, info.until)];
                inspected("revocation list", info.product.to_string(), parts, |as_of| {
                    let collateral = SnpCollateral::new(SnpRevocation::Checked(der.clone()));
                    let [key, _] = crate::piece::SIGNING_KEYS;
                    let needed = snp::needed(&Key::SnpLine(info.product, key));
                    check(roots, &Collateral::Snp(collateral), &needed, as_of)
                })
            }
            Self::SnpEndorsement {
                der,
                says,
                from,
                until,
            } => {
                let key = SnpEndorsementKey::from(*says);
                let chip = says.chip_id.map_or_else(
                    || "of a cloud provider".to_owned(),
                    |chip| format!("chip {}", hex::encode(chip)),
                );
                let platform = format!(
                    "{}, {chip}, TCB {}",
                    says.product,
                    hex::encode(key.reported_tcb())
                );
                let what = match says.chip_id {
                    Some(_) => "VCEK certificate",
                    None => "VLEK certificate",
                };
                inspected(what, platform, vec![(what.to_owned(), *from, *until)], |as_of| {
                    let chain = beside.iter().find_map(|item| match item {
                        Self::SnpChain {
                            pem,
                            product,
                            signing_key,
                            from,
                            ..
                        } if (*product, *signing_key) == (says.product, says.signing_key) => {
                            Some((pem, *from))
                        }
                        _ => None,
                    });
                    let (pem, chain_from) = chain
                        .ok_or_else(|| "no certificate chain of its product line beside it".to_owned())?;
                    let collateral = SnpCollateral::new(SnpRevocation::NotChecked)
                        .with_authorities(pem)
                        .map_err(|error| error.to_string())?
                        .with_endorsement_key(der.clone());
                    let needed = snp::needed(&Key::SnpEndorsement(key));
                    check(
                        roots,
                        &Collateral::Snp(collateral),
                        &needed,
                        as_of.max(chain_from),
                    )
                })
            }
        }
    }
}

fn inspected(
    what: &'static str,
    platform: String,
    parts: Vec<(String, UnixSeconds, UnixSeconds)>,
    signed: impl FnOnce(UnixSeconds) -> Result<(), String>,
) -> Inspected {
    let issued = parts
        .iter()
        .map(|(_, from, _)| *from)
        .max()
        .unwrap_or(UnixSeconds(0));
    let until = parts
        .iter()
        .map(|(_, _, until)| *until)
        .min()
        .unwrap_or(UnixSeconds(0));
    Inspected {
        what,
        platform,
        issued,
        until,
        signed: signed(issued),
        parts,
    }
}

/// Signatures and what it is for, as of a time at which all of it is in force: whether it is now is another question.
fn check<R: TrustRoots>(
    roots: &R,
    collateral: &Collateral,
    needed: &CollateralNeeded,
    as_of: UnixSeconds,
) -> Result<(), String> {
    check_collateral(roots, collateral, needed, as_of, FreshnessPolicy::default())
        .map_err(|refused| refused.to_string())
}
