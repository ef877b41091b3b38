//! The guest that is expected of a Coordinator in a confidential virtual machine: keys `TDX` and `SNP` of the file of
//! `--era-config`, named as in packages of manifests (`spec/08`).

use marblerun_attestation::claims::SnpProduct;
use marblerun_attestation::policy::{Rules, SnpMinimumTcb, snp_minimum_tcb, snp_product};
use marblerun_attestation::{SnpClaims, TdxClaims};
use serde::Deserialize;

use crate::evidence::PolicyError;

/// The section that has this key, ignoring case.
pub(crate) fn section_with(key: &str) -> Option<&'static str> {
    let is_key = |known: &&str| known.eq_ignore_ascii_case(key);
    let tdx = ExpectedTdxGuest::default();
    let of_tdx = tdx.registers().iter().any(|(known, _)| is_key(known));
    let of_snp = ExpectedSnpGuest::KEYS.iter().any(is_key);
    match (of_tdx, of_snp) {
        (true, _) => Some("TDX"),
        (_, true) => Some("SNP"),
        _ => None,
    }
}

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
    pub mrownerconfig: Option<String>,
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
    /// `Milan`, `Genoa` or `Turin`: one of them or several; any when it is not given.
    pub product: Option<ExpectedProducts>,
    /// The least security versions of the platform, which has no rating that would say so.
    #[serde(rename = "MinimumTCB")]
    pub minimum_tcb: Option<ExpectedTcb>,
}

/// Product lines of AMD by their names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected the name of a product or a list of them")]
pub enum ExpectedProducts {
    /// This one.
    One(String),
    /// One of these.
    Listed(Vec<String>),
}

/// Least security versions, each 0 to 255; what is not given, or 0, is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedTcb {
    /// `BootLoader`
    #[serde(rename = "BootLoader")]
    pub boot_loader: Option<u8>,
    /// `TEE`
    #[serde(rename = "TEE")]
    pub tee: Option<u8>,
    /// `SNP`
    #[serde(rename = "SNP")]
    pub snp: Option<u8>,
    /// `Microcode`
    #[serde(rename = "Microcode")]
    pub microcode: Option<u8>,
    /// Only Turin has it.
    #[serde(rename = "FMC")]
    pub fmc: Option<u8>,
}

impl ExpectedTcb {
    fn minimum(&self) -> SnpMinimumTcb {
        let given = |version: Option<u8>| version.filter(|version| *version > 0);
        SnpMinimumTcb {
            boot_loader: given(self.boot_loader),
            tee: given(self.tee),
            snp: given(self.snp),
            microcode: given(self.microcode),
            fmc: given(self.fmc),
        }
    }
}

impl ExpectedTdxGuest {
    fn registers(&self) -> [(&'static str, &Option<String>); 9] {
        [
            ("MRTD", &self.mrtd),
            ("RTMR0", &self.rtmr0),
            ("RTMR1", &self.rtmr1),
            ("RTMR2", &self.rtmr2),
            ("RTMR3", &self.rtmr3),
            ("MRSEAM", &self.mrseam),
            ("MRCONFIGID", &self.mrconfigid),
            ("MROWNER", &self.mrowner),
            ("MROWNERCONFIG", &self.mrownerconfig),
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
            &claims.mr_owner_config,
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
    /// The keys of the section.
    const KEYS: &[&str] = &[
        "Measurement",
        "HostData",
        "IDKeyDigest",
        "AuthorKeyDigest",
        "VMPL",
        "Product",
        "MinimumTCB",
    ];

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
        let products = self.products()?;
        let minimum = self.minimum_tcb.as_ref().map(ExpectedTcb::minimum);
        if minimum.is_some_and(|minimum| minimum.fmc.is_some()) && products != [SnpProduct::Turin] {
            return Err(PolicyError::Component);
        }
        Ok(())
    }

    /// The products that are good enough; none: any.
    fn products(&self) -> Result<Vec<SnpProduct>, PolicyError> {
        let names = match &self.product {
            None => &[],
            Some(ExpectedProducts::One(name)) => std::slice::from_ref(name),
            Some(ExpectedProducts::Listed(names)) => names.as_slice(),
        };
        let named = |name: &String| {
            SnpProduct::named(name).ok_or_else(|| PolicyError::Product { name: name.clone() })
        };
        names.iter().map(named).collect()
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
        // Names that are none were refused when the file was read.
        let _ = snp_product(rules, &self.products().unwrap_or_default(), claims.product);
        if let Some(minimum) = &self.minimum_tcb {
            let _ = snp_minimum_tcb(rules, &minimum.minimum(), &claims.tcb);
        }
    }
}

fn digits(field: &'static str, value: Option<&str>, expected: usize) -> Result<(), PolicyError> {
    let fits = |text: &str| text.len() == expected && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match value {
        Some(text) if !fits(text) => Err(PolicyError::Digits { field, expected }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_the_sections_are_those_that_are_read() {
        for key in ExpectedSnpGuest::KEYS {
            let json = format!("{{\"{key}\": null}}");
            assert!(
                marblerun_wire::rest::read_body::<ExpectedSnpGuest>(json.as_bytes()).is_ok(),
                "{key}"
            );
            assert_eq!(section_with(&key.to_lowercase()), Some("SNP"));
        }
        for (key, _) in ExpectedTdxGuest::default().registers() {
            let json = format!("{{\"{key}\": null}}");
            assert!(
                marblerun_wire::rest::read_body::<ExpectedTdxGuest>(json.as_bytes()).is_ok(),
                "{key}"
            );
            assert_eq!(section_with(key), Some("TDX"));
        }
        assert_eq!(section_with("UniqueID"), None);
    }
}
