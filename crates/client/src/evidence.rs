//! What a Coordinator's evidence must show (`spec/09`).

use std::collections::BTreeMap;

use marblerun_attestation::Claims;
use marblerun_attestation::policy::{
    DebugRule, EveryRule, RuleOutcome, Rules, SgxEnclave, misspelled, sgx_enclave, tcb,
};
use marblerun_wire::rest::read_body;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::guest::{ExpectedSnpGuest, ExpectedTdxGuest, section_with};

/// The Coordinator that is expected: the file of `--era-config`. The first four fields say which SGX enclave it is;
/// one in a confidential virtual machine has `TDX` or `SNP`. A file may name several: the evidence decides which counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ExpectedEnclave {
    /// MRENCLAVE in hex.
    #[serde(rename = "UniqueID")]
    pub unique_id: Option<String>,
    /// MRSIGNER in hex.
    #[serde(rename = "SignerID")]
    pub signer_id: Option<String>,
    /// ISVPRODID
    #[serde(rename = "ProductID")]
    pub product_id: Option<u64>,
    /// ISVSVN, the minimum.
    #[serde(rename = "SecurityVersion")]
    pub security_version: Option<u64>,
    /// Whether a debug enclave is good enough.
    #[serde(rename = "Debug")]
    pub debug: Option<bool>,
    /// The trust domain that is expected, if it runs in one.
    #[serde(rename = "TDX")]
    pub tdx: Option<ExpectedTdxGuest>,
    /// The SEV-SNP guest that is expected, if it runs in one.
    #[serde(rename = "SNP")]
    pub snp: Option<ExpectedSnpGuest>,
    /// Other keys of the file, which are ignored: users deserve a warning.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

const KEYS: &[&str] = &[
    "UniqueID",
    "SignerID",
    "ProductID",
    "SecurityVersion",
    "Debug",
    "TDX",
    "SNP",
];

/// The keys of a file of JSON that are none of ours. One that is nearly one of ours is an error.
fn ignored_keys(json: &[u8]) -> Result<Vec<String>, PolicyError> {
    let all: BTreeMap<String, IgnoredAny> = read_body(json).map_err(|error| PolicyError::Json {
        reason: error.to_string(),
    })?;
    let mut ignored = Vec::new();
    for name in all.into_keys() {
        if KEYS.iter().any(|key| key.eq_ignore_ascii_case(&name)) {
            continue;
        }
        let meant = section_with(&name).or_else(|| misspelled(KEYS, &name));
        match meant {
            Some(meant) => return Err(PolicyError::Unknown { name, meant }),
            None => ignored.push(name),
        }
    }
    Ok(ignored)
}

impl ExpectedEnclave {
    /// Reads the JSON file and checks that it asks for enough.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn from_json(json: &[u8]) -> Result<Self, PolicyError> {
        let mut expected: Self = read_body(json).map_err(|error| PolicyError::Json {
            reason: error.to_string(),
        })?;
        expected.ignored = ignored_keys(json)?;
        for (name, id) in [
            ("UniqueID", &mut expected.unique_id),
            ("SignerID", &mut expected.signer_id),
        ] {
            if id.as_ref().is_some_and(String::is_empty) {
                *id = None;
            }
            if id
                .as_ref()
                .is_some_and(|id| hex::decode(id).map_or(true, |id| id.len() != 32))
            {
                return Err(PolicyError::Id { field: name });
            }
        }
        let debug = expected.debug.unwrap_or(false);
        if let Some(tdx) = &expected.tdx {
            tdx.check(debug)?;
        }
        if let Some(snp) = &expected.snp {
            snp.check(debug)?;
        }
        if expected.unique_id.is_none() && expected.names_sgx() {
            for (name, value) in [
                ("SecurityVersion", expected.security_version),
                ("ProductID", expected.product_id),
            ] {
                if value.unwrap_or(0) == 0 {
                    return Err(PolicyError::Missing { field: name });
                }
            }
        }
        Ok(expected)
    }

    /// Whether it names code for each TEE it takes; if not, users deserve a warning.
    pub fn names_code(&self) -> bool {
        let enclave = self.unique_id.is_some() || self.signer_id.is_some() || !self.names_sgx();
        let started = |tdx: &ExpectedTdxGuest| tdx.mrtd.is_some();
        let launched = |snp: &ExpectedSnpGuest| snp.measurement.is_some();
        enclave && self.tdx.as_ref().is_none_or(started) && self.snp.as_ref().is_none_or(launched)
    }

    /// Whether it expects an SGX enclave: unless it names nothing but guests.
    fn names_sgx(&self) -> bool {
        let guests = self.tdx.is_some() || self.snp.is_some();
        let ids = self.unique_id.is_some() || self.signer_id.is_some();
        ids || self.product_id.is_some() || self.security_version.is_some() || !guests
    }
}

/// All that is asked of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidencePolicy {
    /// The enclave.
    pub enclave: ExpectedEnclave,
    /// TCB statuses that are good enough beside `UpToDate`, as spelled in `spec/08`.
    pub accepted_tcb_statuses: Vec<String>,
    /// Advisories that are good enough with `SWHardeningNeeded`; empty: all.
    pub accepted_advisories: Vec<String>,
    /// Makes the evidence fresh; empty: evidence made earlier will do.
    pub nonce: Vec<u8>,
}

impl EvidencePolicy {
    /// Every rule and what became of it, in order. The Coordinator is the one expected if none is broken. Evidence of
    /// a TEE that is not expected breaks the only rule there is, `TEE`.
    pub fn appraise(&self, claims: &Claims) -> Vec<RuleOutcome> {
        let (statuses, advisories) = (&self.accepted_tcb_statuses, &self.accepted_advisories);
        let expected = &self.enclave;
        let debug = expected.debug.unwrap_or(false);
        let mut every = EveryRule::default();
        let mut rules = Rules::of_document(&mut every);
        match (claims, &expected.tdx, &expected.snp) {
            (Claims::Sgx(_), ..) if expected.names_sgx() => {
                let enclave = SgxEnclave {
                    unique_id: expected.unique_id.as_deref(),
                    signer_id: expected.signer_id.as_deref(),
                    product_id: expected.product_id,
                    security_version: expected.security_version,
                    debug: DebugRule::Allowed(debug),
                };
                return sgx_enclave(&enclave, statuses, advisories, claims);
            }
            (Claims::Tdx(claims), Some(guest), _) => {
                let mut rules = rules.below("TDX");
                may_be_debug(&mut rules, debug, claims.debug);
                guest.tell(&mut rules, claims);
                let _ = tcb::status(&mut rules, statuses, claims.tcb_status);
                let found = claims.advisories.as_deref();
                let _ = tcb::advisories(&mut rules, advisories, claims.tcb_status, found);
            }
            (Claims::Snp(claims), _, Some(guest)) => {
                let mut rules = rules.below("SNP");
                may_be_debug(&mut rules, debug, claims.debug);
                guest.tell(&mut rules, claims);
            }
            _ => drop(rules.tell("TEE", false, section_for(claims), claims.tee())),
        }
        every.into_outcomes()
    }
}

/// What the file would need to name the TEE that was found.
fn section_for(claims: &Claims) -> &'static str {
    match claims {
        Claims::Sgx(_) => {
            "a TEE the era config has a section for (SGX needs UniqueID, or SignerID, ProductID and SecurityVersion)"
        }
        Claims::Tdx(_) => "a TEE the era config has a section for (this one needs a section \"TDX\")",
        Claims::Snp(_) => "a TEE the era config has a section for (this one needs a section \"SNP\")",
    }
}

fn may_be_debug(rules: &mut Rules<'_>, allowed: bool, found: bool) {
    let expected = if allowed { "false or true" } else { "false" };
    let _ = rules.tell("Debug", allowed || !found, expected, found);
}

/// Not a policy that proves anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No such JSON.
    #[error("not the JSON that was expected: {reason}")]
    Json {
        /// Why.
        reason: String,
    },
    /// An id of the wrong form.
    #[error("{field} must be 64 hex digits")]
    Id {
        /// Which.
        field: &'static str,
    },
    /// A reference value of the wrong form.
    #[error("{field} must be {expected} hex digits")]
    Digits {
        /// Which.
        field: &'static str,
        /// How many digits it has.
        expected: usize,
    },
    /// A privilege level that no guest has.
    #[error("VMPL must be from 0 to 3")]
    Level,
    /// A product line that there is not.
    #[error("Product: there is no {name:?}, only Milan, Genoa and Turin")]
    Product {
        /// What stands there.
        name: String,
    },
    /// A component that not all products have.
    #[error("MinimumTCB: only Turin has FMC; expected Product to be Turin alone")]
    Component,
    /// A key that is nearly one of those that are known, or belongs into one of them: to ignore it would be to leave out a
    /// check.
    #[error("unknown key {name:?}; is {meant} meant, or something in it?")]
    Unknown {
        /// What stands there.
        name: String,
        /// Which.
        meant: &'static str,
    },
    /// A guest that could be any.
    #[error("{field} must be given, unless Debug is true")]
    Required {
        /// Which.
        field: &'static str,
    },
    /// Not enough.
    #[error("without UniqueID, {field} must be given and not be 0")]
    Missing {
        /// Which.
        field: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let id = "00".repeat(32);
        let read = |json: String| ExpectedEnclave::from_json(json.as_bytes());
        let full = read(format!(
            r#"{{"SignerID":"{id}","ProductID":3,"SecurityVersion":1,"Debug":true}}"#
        ))
        .unwrap();
        assert_eq!(
            (full.product_id, full.debug, full.names_code()),
            (Some(3), Some(true), true)
        );
        assert!(read(format!(r#"{{"UniqueID":"{id}"}}"#)).unwrap().names_code());
        let neither = read(r#"{"ProductID":3,"SecurityVersion":1,"SignerID":""}"#.to_owned()).unwrap();
        assert!(!neither.names_code());
        assert_eq!(
            read(format!(r#"{{"SignerID":"{id}","ProductID":3}}"#)).unwrap_err(),
            PolicyError::Missing {
                field: "SecurityVersion"
            }
        );
        assert_eq!(
            read(format!(
                r#"{{"SignerID":"{id}","ProductID":0,"SecurityVersion":1}}"#
            ))
            .unwrap_err(),
            PolicyError::Missing { field: "ProductID" }
        );
        for guest in [r#""TDX":{}"#, r#""SNP":{"VMPL":1}"#] {
            let any = read(format!(r#"{{"Debug":true,{guest}}}"#)).unwrap();
            assert!(!any.names_code(), "{guest}");
        }
        for (level, good) in [(0, true), (3, true), (4, false)] {
            let measurement = "3e".repeat(48);
            let read = read(format!(
                r#"{{"SNP":{{"Measurement":"{measurement}","VMPL":{level}}}}}"#
            ));
            assert_eq!(read.is_ok(), good, "{level}");
        }
        for (platform, good) in [
            (r#""Product":"Milan""#, true),
            (r#""Product":["Milan","Genoa"]"#, true),
            (r#""Product":"milan""#, false),
            (r#""Product":7"#, false),
            (r#""MinimumTCB":{"SNP":8,"Microcode":200}"#, true),
            (r#""MinimumTCB":{"SNP":256}"#, false),
            (r#""MinimumTCB":{"Snq":8}"#, false),
            (r#""MinimumTCB":{"FMC":1}"#, false),
            (r#""MinimumTCB":{"FMC":0}"#, true),
            (r#""Product":["Turin"],"MinimumTCB":{"FMC":1}"#, true),
        ] {
            let measurement = "3e".repeat(48);
            let read = read(format!(
                r#"{{"SNP":{{"Measurement":"{measurement}",{platform}}}}}"#
            ));
            assert_eq!(read.is_ok(), good, "{platform}: {read:?}");
        }
        assert_eq!(
            read(format!(r#"{{"UniqueID":"{id}","SecurtyVersion":5}}"#)).unwrap_err(),
            PolicyError::Unknown {
                name: "SecurtyVersion".to_owned(),
                meant: "SecurityVersion"
            }
        );
        for (name, section) in [("HostData", "SNP"), ("product", "SNP"), ("MRTD", "TDX")] {
            let misplaced = read(format!(r#"{{"UniqueID":"{id}","{name}":"00"}}"#)).unwrap_err();
            let meant = PolicyError::Unknown {
                name: name.to_owned(),
                meant: section,
            };
            assert_eq!(misplaced, meant);
        }
        let other = read(format!(r#"{{"uniqueid":"{id}","Comment":[1],"A":{{}}}}"#)).unwrap();
        assert_eq!(other.ignored, ["A", "Comment"]);
        assert_eq!(
            read(r#"{"UniqueID":"00"}"#.to_owned()).unwrap_err(),
            PolicyError::Id { field: "UniqueID" }
        );
        assert!(matches!(read("{".to_owned()), Err(PolicyError::Json { .. })));
    }
}
