//! Appraisal: do verified claims comply with the package of a marble and with the infrastructures the manifest
//! allows (`spec/01`, `spec/08`)?
//!
//! A pure comparison. Every mismatch names the rule, what was expected and what was found; the manifest is
//! public and the evidence is the caller's own, so all of it may be told.

use std::fmt;

use imbl::OrdMap;
use marblerun_attestation::{Admission, Claims, SgxClaims, TcbStatus};

use crate::manifest::{Infrastructure, Manifest, Marble, Name, Package, SgxPackage};

/// A rule that the claims do not keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: expected {expected}, found {found}")]
pub struct Mismatch {
    /// The rule, by its path in the manifest.
    pub rule: String,
    /// What the manifest asks for.
    pub expected: String,
    /// What the evidence shows.
    pub found: String,
}

/// Whether a marble may be admitted. `raised` holds the security versions that package updates put in the place
/// of the manifest's.
///
/// Without verified evidence, which only simulation mode allows, there is nothing to compare.
///
/// # Errors
/// The first rule that is not kept.
pub fn comply(
    manifest: &Manifest,
    raised: &OrdMap<Name, u64>,
    marble: &Marble,
    admission: &Admission,
) -> Result<(), Mismatch> {
    let claims = match admission {
        Admission::Simulated(_) => return Ok(()),
        Admission::Verified(verified) => verified.get(),
        Admission::VerifiedInSimulation(verified) => verified.get(),
    };
    // A checked manifest has the package of each of its marbles.
    let Some(package) = manifest.packages.get(&marble.package) else {
        return Err(mismatch("Packages", &marble.package, "no such package"));
    };
    let at = format!("Packages.{}", marble.package);
    let raised = raised.get(&marble.package).copied();
    comply_with_package(&at, package, raised, claims)?;
    comply_with_infrastructures(manifest, claims)
}

fn comply_with_package(
    at: &str,
    package: &Package,
    raised: Option<u64>,
    claims: &Claims,
) -> Result<(), Mismatch> {
    match (claims, &package.sgx) {
        (Claims::Sgx(claims), Some(rules)) => {
            equal(format!("{at}.Debug"), package.debug, claims.debug)?;
            comply_with_sgx(at, rules, raised, claims)?;
            accept_tcb(at, package, claims.tcb_status, claims.advisories.as_deref())
        }
        (Claims::Sgx(_), None) => Err(names_no_claims(at, "SGX")),
        (Claims::Tdx(_), _) => Err(names_no_claims(at, "TDX")),
        (Claims::Snp(_), _) => Err(names_no_claims(at, "SEV-SNP")),
    }
}

fn comply_with_sgx(
    at: &str,
    rules: &SgxPackage,
    raised: Option<u64>,
    claims: &SgxClaims,
) -> Result<(), Mismatch> {
    if let Some(expected) = &rules.unique_id {
        equal_hex(format!("{at}.UniqueID"), expected, &claims.unique_id)?;
    }
    if let Some(expected) = &rules.signer_id {
        equal_hex(format!("{at}.SignerID"), expected, &claims.signer_id)?;
    }
    if let Some(expected) = rules.product_id {
        equal(format!("{at}.ProductID"), expected, u64::from(claims.product_id))?;
    }
    if let Some(minimum) = raised.or(rules.security_version) {
        at_least(
            format!("{at}.SecurityVersion"),
            minimum,
            u64::from(claims.security_version),
        )?;
    }
    Ok(())
}

/// UpToDate always; others when listed, an empty list standing for SWHardeningNeeded. Advisories are looked at
/// for SWHardeningNeeded only, and a platform that does not say which apply to it is then refused.
fn accept_tcb(
    at: &str,
    package: &Package,
    status: TcbStatus,
    advisories: Option<&[String]>,
) -> Result<(), Mismatch> {
    let listed = |status: TcbStatus| match package.accepted_tcb_statuses.as_slice() {
        [] => status == TcbStatus::SWHardeningNeeded,
        list => list.iter().any(|accepted| accepted == status.as_str()),
    };
    if status != TcbStatus::UpToDate && !listed(status) {
        let expected = match package.accepted_tcb_statuses.as_slice() {
            [] => "UpToDate or SWHardeningNeeded".to_owned(),
            list => format!("UpToDate or one of {}", list.join(", ")),
        };
        return Err(mismatch(format!("{at}.AcceptedTCBStatuses"), expected, status));
    }
    if status == TcbStatus::SWHardeningNeeded && !package.accepted_advisories.is_empty() {
        let rule = format!("{at}.AcceptedAdvisories");
        let expected = format!("only {}", package.accepted_advisories.join(", "));
        let Some(advisories) = advisories else {
            return Err(mismatch(rule, expected, "no list of advisories"));
        };
        let accepted = |found: &&String| {
            package
                .accepted_advisories
                .iter()
                .any(|a| a.eq_ignore_ascii_case(found))
        };
        if let Some(found) = advisories.iter().find(|found| !accepted(found)) {
            return Err(mismatch(rule, expected, found));
        }
    }
    Ok(())
}

/// When the manifest lists infrastructures, the platform must comply with at least one.
fn comply_with_infrastructures(manifest: &Manifest, claims: &Claims) -> Result<(), Mismatch> {
    if manifest.infrastructures.is_empty() {
        return Ok(());
    }
    let Some(platform) = Platform::of(claims) else {
        return Err(mismatch(
            "Infrastructures",
            "an Intel platform that is listed",
            "another TEE",
        ));
    };
    let mut reasons = Vec::new();
    for (name, infrastructure) in &manifest.infrastructures {
        match platform.comply(&format!("Infrastructures.{name}"), infrastructure) {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(reason.to_string()),
        }
    }
    reasons.truncate(16);
    Err(mismatch(
        "Infrastructures",
        "a platform that is listed",
        reasons.join("; "),
    ))
}

struct Platform<'c> {
    cpu_svn: &'c [u8; 16],
    qe_svn: u16,
    pce_svn: u16,
    root_ca: &'c [u8],
}

impl<'c> Platform<'c> {
    fn of(claims: &'c Claims) -> Option<Self> {
        match claims {
            Claims::Sgx(c) => Some(Self {
                cpu_svn: &c.cpu_svn,
                qe_svn: c.qe_svn,
                pce_svn: c.pce_svn,
                root_ca: &c.root_ca,
            }),
            Claims::Tdx(c) => Some(Self {
                cpu_svn: &c.cpu_svn,
                qe_svn: c.qe_svn,
                pce_svn: c.pce_svn,
                root_ca: &c.root_ca,
            }),
            Claims::Snp(_) => None,
        }
    }

    fn comply(&self, at: &str, rules: &Infrastructure) -> Result<(), Mismatch> {
        if let Some(expected) = &rules.root_ca
            && expected.as_slice() != self.root_ca
        {
            return Err(mismatch(
                format!("{at}.RootCA"),
                "this root certificate",
                "another",
            ));
        }
        if let Some(expected) = &rules.cpu_svn {
            equal(
                format!("{at}.CPUSVN"),
                hex::encode(expected),
                hex::encode(self.cpu_svn),
            )?;
        }
        if let Some(minimum) = rules.qe_svn {
            at_least(format!("{at}.QESVN"), minimum, self.qe_svn)?;
        }
        if let Some(minimum) = rules.pce_svn {
            at_least(format!("{at}.PCESVN"), minimum, self.pce_svn)?;
        }
        Ok(())
    }
}

fn names_no_claims(at: &str, tee: &str) -> Mismatch {
    mismatch(
        at,
        "evidence of a TEE the package names claims for",
        format_args!("{tee} evidence"),
    )
}

fn equal<T: PartialEq + fmt::Display>(rule: String, expected: T, found: T) -> Result<(), Mismatch> {
    if expected == found {
        Ok(())
    } else {
        Err(mismatch(rule, expected, found))
    }
}

fn equal_hex(rule: String, expected: &str, found: &[u8]) -> Result<(), Mismatch> {
    let found = hex::encode(found);
    if expected.eq_ignore_ascii_case(&found) {
        Ok(())
    } else {
        Err(mismatch(rule, expected, found))
    }
}

fn at_least<T: PartialOrd + fmt::Display + Copy>(rule: String, minimum: T, found: T) -> Result<(), Mismatch> {
    if found >= minimum {
        Ok(())
    } else {
        Err(mismatch(rule, format_args!("at least {minimum}"), found))
    }
}

fn mismatch(rule: impl Into<String>, expected: impl fmt::Display, found: impl fmt::Display) -> Mismatch {
    Mismatch {
        rule: rule.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> SgxClaims {
        SgxClaims {
            unique_id: [1; 32],
            signer_id: [2; 32],
            product_id: 44,
            security_version: 3,
            debug: false,
            tcb_status: TcbStatus::UpToDate,
            advisories: Some(Vec::new()),
            cpu_svn: [7; 16],
            qe_svn: 5,
            pce_svn: 6,
            root_ca: vec![3, 3, 3],
            report_data: [0; 64],
        }
    }

    fn package() -> Package {
        Package {
            sgx: Some(SgxPackage {
                unique_id: None,
                signer_id: Some("02".repeat(32).to_uppercase()),
                product_id: Some(44),
                security_version: Some(3),
            }),
            tdx: None,
            snp: None,
            debug: false,
            accepted_tcb_statuses: Vec::new(),
            accepted_advisories: Vec::new(),
        }
    }

    fn refused_by(package: &Package, claims: SgxClaims) -> String {
        match comply_with_package("P", package, None, &Claims::Sgx(Box::new(claims))) {
            Ok(()) => "accepted".to_owned(),
            Err(mismatch) => mismatch.to_string(),
        }
    }

    #[test]
    fn each_rule_of_a_package_is_compared() {
        assert_eq!(refused_by(&package(), claims()), "accepted");
        let higher = SgxClaims {
            security_version: 4,
            ..claims()
        };
        assert_eq!(refused_by(&package(), higher), "accepted");
        let lower = SgxClaims {
            security_version: 2,
            ..claims()
        };
        assert_eq!(
            refused_by(&package(), lower),
            "P.SecurityVersion: expected at least 3, found 2"
        );
        let debug = SgxClaims {
            debug: true,
            ..claims()
        };
        assert_eq!(
            refused_by(&package(), debug),
            "P.Debug: expected false, found true"
        );
        let product = SgxClaims {
            product_id: 45,
            ..claims()
        };
        assert_eq!(
            refused_by(&package(), product),
            "P.ProductID: expected 44, found 45"
        );
        let signer = SgxClaims {
            signer_id: [3; 32],
            ..claims()
        };
        assert!(refused_by(&package(), signer).starts_with("P.SignerID: expected 0202"));

        let mut unique = package();
        unique.sgx = Some(SgxPackage {
            unique_id: Some("01".repeat(32)),
            ..SgxPackage::default()
        });
        assert_eq!(refused_by(&unique, claims()), "accepted");
        let other = SgxClaims {
            unique_id: [9; 32],
            ..claims()
        };
        assert!(refused_by(&unique, other).starts_with("P.UniqueID"));
        let placeholder = Package {
            sgx: Some(SgxPackage {
                unique_id: Some("put the id here".into()),
                ..SgxPackage::default()
            }),
            ..package()
        };
        assert!(refused_by(&placeholder, claims()).starts_with("P.UniqueID"));
        let none = Package {
            sgx: None,
            ..package()
        };
        assert!(refused_by(&none, claims()).contains("found SGX evidence"));
    }

    #[test]
    fn a_raised_security_version_counts_instead_of_the_manifest_s() {
        let comply = |raised| {
            let claims = Claims::Sgx(Box::new(claims()));
            comply_with_package("P", &package(), raised, &claims).map_err(|mismatch| mismatch.to_string())
        };
        assert_eq!(comply(None), Ok(()));
        assert_eq!(comply(Some(3)), Ok(()));
        assert_eq!(
            comply(Some(4)),
            Err("P.SecurityVersion: expected at least 4, found 3".to_owned())
        );
    }

    #[test]
    fn tcb_statuses_and_advisories_follow_the_lists() {
        let with = |statuses: &[&str], advisories: &[&str]| Package {
            accepted_tcb_statuses: statuses.iter().map(ToString::to_string).collect(),
            accepted_advisories: advisories.iter().map(ToString::to_string).collect(),
            ..package()
        };
        let found = |tcb_status, advisories: Option<&[&str]>| SgxClaims {
            tcb_status,
            advisories: advisories.map(|list| list.iter().map(ToString::to_string).collect()),
            ..claims()
        };
        let hardening = TcbStatus::SWHardeningNeeded;
        for status in TcbStatus::ALL {
            let default = matches!(status, TcbStatus::UpToDate | TcbStatus::SWHardeningNeeded);
            assert_eq!(
                refused_by(&with(&[], &[]), found(status, None)) == "accepted",
                default,
                "{status}"
            );
            let only = matches!(status, TcbStatus::UpToDate | TcbStatus::OutOfDate);
            let package = with(&["OutOfDate"], &[]);
            assert_eq!(
                refused_by(&package, found(status, None)) == "accepted",
                only,
                "{status}"
            );
            assert_eq!(
                refused_by(&with(&[status.as_str()], &[]), found(status, None)),
                "accepted"
            );
        }
        assert!(
            refused_by(&with(&["outofdate"], &[]), found(TcbStatus::OutOfDate, None)).contains("outofdate")
        );
        let listed = with(&[], &["INTEL-SA-1", "INTEL-SA-2"]);
        assert_eq!(
            refused_by(&listed, found(hardening, Some(&["intel-sa-2"]))),
            "accepted"
        );
        assert_eq!(refused_by(&listed, found(hardening, Some(&[]))), "accepted");
        assert!(refused_by(&listed, found(hardening, Some(&["INTEL-SA-3"]))).ends_with("found INTEL-SA-3"));
        assert!(refused_by(&listed, found(hardening, None)).ends_with("no list of advisories"));
        assert_eq!(refused_by(&listed, found(TcbStatus::UpToDate, None)), "accepted");
    }

    #[test]
    fn each_property_of_an_infrastructure_is_compared() {
        let claims = Claims::Sgx(Box::new(claims()));
        let platform = Platform::of(&claims).unwrap();
        let all = Infrastructure {
            cpu_svn: Some(vec![7; 16]),
            qe_svn: Some(5),
            pce_svn: Some(6),
            root_ca: Some(vec![3, 3, 3]),
        };
        assert_eq!(platform.comply("I", &all), Ok(()));
        assert_eq!(platform.comply("I", &Infrastructure::default()), Ok(()));
        let refused = |rules: Infrastructure| platform.comply("I", &rules).unwrap_err().rule;
        assert_eq!(
            refused(Infrastructure {
                cpu_svn: Some(vec![8; 16]),
                ..all.clone()
            }),
            "I.CPUSVN"
        );
        assert_eq!(
            refused(Infrastructure {
                qe_svn: Some(6),
                ..all.clone()
            }),
            "I.QESVN"
        );
        assert_eq!(
            refused(Infrastructure {
                pce_svn: Some(7),
                ..all.clone()
            }),
            "I.PCESVN"
        );
        assert_eq!(
            refused(Infrastructure {
                root_ca: Some(vec![3]),
                ..all
            }),
            "I.RootCA"
        );
    }
}
