//! The guest that is expected of a Coordinator in a confidential virtual machine: keys `TDX` and `SNP` of the file of
//! `--era-config`, named as in packages of manifests (`spec/08`).

use marblerun_attestation::policy::Rules;
use marblerun_attestation::{SnpClaims, TdxClaims};
use serde::Deserialize;

use crate::evidence::PolicyError;

/// A TDX trust domain. What is not given is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "named as in the format; each is 96 hex digits")]
pub struct ExpectedTdxGuest {
    pub mrtd: Option<String>,
    pub rtmr0: Option<String>,
    pub rtmr1: Option<String>,
    pub rtmr2: Option<String>,
    pub rtmr3: Option<String>,
    pub mrseam: Option<String>,
    pub mrconfigid: Option<String>,
    pub mrowner: Option<String>,
}

/// A SEV-SNP guest. What is not given is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub struct ExpectedSnpGuest {
    /// 96 hex digits.
    pub measurement: Option<String>,
    /// 64 hex digits.
    pub host_data: Option<String>,
    /// 96 hex digits.
    #[serde(rename = "IDKeyDigest")]
    pub id_key_digest: Option<String>,
    /// 96 hex digits.
    pub author_key_digest: Option<String>,
    /// 0 when it is not given.
    #[serde(rename = "VMPL")]
    pub vmpl: Option<u32>,
}

impl ExpectedTdxGuest {
    fn registers(&self) -> [(&'static str, &Option<String>); 8] {
        [
            ("MRTD", &self.mrtd),
            ("RTMR0", &self.rtmr0),
            ("RTMR1", &self.rtmr1),
            ("RTMR2", &self.rtmr2),
            ("RTMR3", &self.rtmr3),
            ("MRSEAM", &self.mrseam),
            ("MRCONFIGID", &self.mrconfigid),
            ("MROWNER", &self.mrowner),
        ]
    }

    /// Each value has its length; without debug, what was started has to be named.
    pub(crate) fn check(&self, debug: bool) -> Result<(), PolicyError> {
        for (field, value) in self.registers() {
            digits(field, value.as_deref(), 96)?;
        }
        let required = self.registers().into_iter().take(if debug { 0 } else { 4 });
        for (field, value) in required {
            value.as_ref().ok_or(PolicyError::Required { field })?;
        }
        Ok(())
    }

    pub(crate) fn tell(&self, rules: &mut Rules<'_>, claims: &TdxClaims) {
        let [rtmr0, rtmr1, rtmr2, rtmr3] = &claims.rtmr;
        let found = [
            &claims.mrtd,
            rtmr0,
            rtmr1,
            rtmr2,
            rtmr3,
            &claims.mr_seam,
            &claims.mr_config_id,
            &claims.mr_owner,
        ];
        for ((field, expected), found) in self.registers().into_iter().zip(found) {
            if let Some(expected) = expected {
                // Every rule is told, also behind one that is broken.
                let _ = rules.equal_hex(field, expected, found);
            }
        }
    }
}

impl ExpectedSnpGuest {
    pub(crate) fn check(&self, debug: bool) -> Result<(), PolicyError> {
        digits("Measurement", self.measurement.as_deref(), 96)?;
        digits("HostData", self.host_data.as_deref(), 64)?;
        digits("IDKeyDigest", self.id_key_digest.as_deref(), 96)?;
        digits("AuthorKeyDigest", self.author_key_digest.as_deref(), 96)?;
        if self.vmpl.is_some_and(|level| level > 3) {
            return Err(PolicyError::Level);
        }
        if self.measurement.is_none() && !debug {
            return Err(PolicyError::Required { field: "Measurement" });
        }
        Ok(())
    }

    pub(crate) fn tell(&self, rules: &mut Rules<'_>, claims: &SnpClaims) {
        let compared: [(_, _, &[u8]); 4] = [
            ("Measurement", &self.measurement, &claims.measurement),
            ("HostData", &self.host_data, &claims.host_data),
            ("IDKeyDigest", &self.id_key_digest, &claims.id_key_digest),
            (
                "AuthorKeyDigest",
                &self.author_key_digest,
                &claims.author_key_digest,
            ),
        ];
        for (field, expected, found) in compared {
            if let Some(expected) = expected {
                let _ = rules.equal_hex(field, expected, found);
            }
        }
        let _ = rules.equal("VMPL", self.vmpl.unwrap_or(0), claims.vmpl);
        let _ = rules.equal("migration agent", false, claims.migration_agent_allowed);
    }
}

fn digits(field: &'static str, value: Option<&str>, expected: usize) -> Result<(), PolicyError> {
    let fits = |text: &str| text.len() == expected && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match value {
        Some(text) if !fits(text) => Err(PolicyError::Digits { field, expected }),
        _ => Ok(()),
    }
}
