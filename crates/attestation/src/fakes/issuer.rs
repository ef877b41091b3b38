//! Evidence of the software TEE for a program that has no other, in simulation.

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use serde::Deserialize;

use super::quote::{EnclaveFields, QuoteFields, TdFields};
use super::{FakeError, SnpReportFields, SoftwareTee};
use crate::binding::{REPORT_DATA_SIZE, ReportBinding};
use crate::claims::{SnpProduct, SnpSigningKey};
use crate::collateral::DcapTee;
use crate::header::OpenEnclaveHeader;
use crate::issue::{IssueError, Issuer};

/// Bit DEBUG of the attributes of an enclave, in the first byte.
const SGX_DEBUG: u8 = 0x02;
/// Bit DEBUG of TD attributes, in the first byte.
const TD_DEBUG: u8 = 0x01;
/// Bit DEBUG of a guest policy.
const SNP_DEBUG: u64 = 1 << 19;

/// What a program simulates: which TEE, and what its evidence claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftwareProfile {
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Sgx(EnclaveFields),
    Tdx(Box<TdFields>),
    Snp(SnpProduct, Box<SnpClaims>),
}

/// Why there is no such profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No TEE with this name.
    #[error("simulated TEE {found:?}: expected sgx, tdx or snp")]
    Tee {
        /// What was given.
        found: String,
    },
    /// Not the JSON expected.
    #[error("claims of the simulated TEE: {why}")]
    Json {
        /// What is wrong, and where.
        why: String,
    },
    /// A claim that cannot be.
    #[error("claims of the simulated TEE, {claim}: expected {expected}, found {found:?}")]
    Claim {
        /// Its name.
        claim: &'static str,
        /// What belongs there.
        expected: String,
        /// What was given.
        found: String,
    },
}

/// Named as the reference values in the packages of a manifest (spec/01).
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
struct SgxClaims {
    #[serde(rename = "UniqueID")]
    unique_id: Option<String>,
    #[serde(rename = "SignerID")]
    signer_id: Option<String>,
    #[serde(rename = "ProductID")]
    product_id: Option<u16>,
    security_version: Option<u16>,
    debug: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "UPPERCASE", default)]
struct TdxClaims {
    mrtd: Option<String>,
    rtmr0: Option<String>,
    rtmr1: Option<String>,
    rtmr2: Option<String>,
    rtmr3: Option<String>,
    mrseam: Option<String>,
    mrconfigid: Option<String>,
    mrowner: Option<String>,
    #[serde(rename = "Debug")]
    debug: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
struct SnpClaims {
    product: Option<String>,
    measurement: Option<String>,
    host_data: Option<String>,
    #[serde(rename = "IDKeyDigest")]
    id_key_digest: Option<String>,
    author_key_digest: Option<String>,
    #[serde(rename = "VMPL")]
    vmpl: Option<u32>,
    debug: bool,
}

impl SoftwareProfile {
    /// `tee` is `sgx`, `tdx` or `snp`. `claims` is a JSON object with what the evidence shall claim, named as the
    /// reference values of packages in manifests; an unknown name is an error. What it does not give: `program`, the
    /// bytes of the program that is simulated, is measured into `UniqueID` (SHA-256), `MRTD` or `Measurement`
    /// (SHA-384); `SignerID` is 32 times 51, `ProductID` and `SecurityVersion` are 1.
    ///
    /// # Errors
    /// [`ProfileError`]
    pub fn new(tee: &str, claims: Option<&str>, program: Option<&[u8]>) -> Result<Self, ProfileError> {
        let claims = claims.unwrap_or("{}");
        let body = match tee {
            "sgx" => Body::Sgx(enclave(&read(claims)?, program)?),
            "tdx" => Body::Tdx(Box::new(trust_domain(&read(claims)?, program)?)),
            "snp" => {
                let mut claims: SnpClaims = read(claims)?;
                if let (None, Some(program)) = (&claims.measurement, program) {
                    claims.measurement = Some(hex::encode(digest(&SHA384, program)));
                }
                let product = snp_product(claims.product.as_deref())?;
                let body = Body::Snp(product, Box::new(claims));
                // Nothing that cannot be read is found out only later.
                if let Body::Snp(_, claims) = &body {
                    claims.apply(&mut blank_report())?;
                }
                body
            }
            _ => {
                return Err(ProfileError::Tee {
                    found: tee.to_owned(),
                });
            }
        };
        Ok(Self { body })
    }
}

/// An issuer of evidence of the software TEE.
pub struct SoftwareIssuer {
    tee: SoftwareTee,
    profile: SoftwareProfile,
    /// Signed once: a chain that is signed anew is another platform to who verifies it.
    pck_chain: String,
}

impl SoftwareIssuer {
    /// Of the software TEE whose keys everybody knows.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn development(profile: SoftwareProfile) -> Result<Self, FakeError> {
        Self::of(SoftwareTee::development()?, profile)
    }

    /// Of another one.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn of(tee: SoftwareTee, profile: SoftwareProfile) -> Result<Self, FakeError> {
        let pck_chain = tee.intel(DcapTee::Sgx).pck_chain()?;
        Ok(Self {
            tee,
            profile,
            pck_chain,
        })
    }

    fn make(&self, binding: &ReportBinding) -> Result<Vec<u8>, IssueError> {
        match &self.profile.body {
            Body::Sgx(fields) => {
                let fields = EnclaveFields {
                    report_data: binding.report_data(),
                    ..fields.clone()
                };
                let quote = QuoteFields::sgx(fields)
                    .sign_with_chain(&self.tee.intel(DcapTee::Sgx), &self.pck_chain)
                    .map_err(|error| failed(&error))?;
                Ok(OpenEnclaveHeader::add(&quote))
            }
            Body::Tdx(fields) => {
                let fields = TdFields {
                    report_data: binding.report_data(),
                    ..TdFields::clone(fields)
                };
                QuoteFields::tdx_v4(fields)
                    .sign_with_chain(&self.tee.intel(DcapTee::Tdx), &self.pck_chain)
                    .map_err(|error| failed(&error))
            }
            Body::Snp(product, claims) => {
                let platform = self.tee.snp(*product, SnpSigningKey::Vcek);
                let mut report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, binding);
                claims.apply(&mut report).map_err(|error| failed(&error))?;
                report.sign(&platform).map_err(|error| failed(&error))
            }
        }
    }
}

impl Issuer for SoftwareIssuer {
    fn quote(&self, binding: &ReportBinding) -> Result<Vec<u8>, IssueError> {
        self.make(binding)
    }
}

fn failed(why: &dyn std::error::Error) -> IssueError {
    IssueError::SoftwareTee { why: why.to_string() }
}

fn read<'a, T: Deserialize<'a>>(claims: &'a str) -> Result<T, ProfileError> {
    serde_json::from_str(claims).map_err(|error| ProfileError::Json {
        why: error.to_string(),
    })
}

fn unbound() -> ReportBinding {
    ReportBinding::report_data_itself([0; REPORT_DATA_SIZE])
}

fn enclave(claims: &SgxClaims, program: Option<&[u8]>) -> Result<EnclaveFields, ProfileError> {
    let mut fields = EnclaveFields::new(&unbound());
    if let Some(program) = program {
        copy(digest(&SHA256, program).as_ref(), &mut fields.mr_enclave);
    }
    set("UniqueID", claims.unique_id.as_deref(), &mut fields.mr_enclave)?;
    set("SignerID", claims.signer_id.as_deref(), &mut fields.mr_signer)?;
    fields.product_id = claims.product_id.unwrap_or(fields.product_id);
    fields.security_version = claims.security_version.unwrap_or(fields.security_version);
    if let (true, Some(first)) = (claims.debug, fields.attributes.first_mut()) {
        *first |= SGX_DEBUG;
    }
    Ok(fields)
}

fn trust_domain(claims: &TdxClaims, program: Option<&[u8]>) -> Result<TdFields, ProfileError> {
    let mut fields = TdFields::new(&unbound());
    if let Some(program) = program {
        copy(digest(&SHA384, program).as_ref(), &mut fields.mrtd);
    }
    set("MRTD", claims.mrtd.as_deref(), &mut fields.mrtd)?;
    set("MRSEAM", claims.mrseam.as_deref(), &mut fields.mr_seam)?;
    set(
        "MRCONFIGID",
        claims.mrconfigid.as_deref(),
        &mut fields.mr_config_id,
    )?;
    set("MROWNER", claims.mrowner.as_deref(), &mut fields.mr_owner)?;
    let registers = [
        ("RTMR0", &claims.rtmr0),
        ("RTMR1", &claims.rtmr1),
        ("RTMR2", &claims.rtmr2),
        ("RTMR3", &claims.rtmr3),
    ];
    for ((name, text), register) in registers.into_iter().zip(&mut fields.rtmr) {
        set(name, text.as_deref(), register)?;
    }
    if let (true, Some(first)) = (claims.debug, fields.attributes.first_mut()) {
        *first |= TD_DEBUG;
    }
    Ok(fields)
}

impl SnpClaims {
    fn apply(&self, report: &mut SnpReportFields) -> Result<(), ProfileError> {
        set(
            "Measurement",
            self.measurement.as_deref(),
            &mut report.measurement,
        )?;
        set("HostData", self.host_data.as_deref(), &mut report.host_data)?;
        set(
            "IDKeyDigest",
            self.id_key_digest.as_deref(),
            &mut report.id_key_digest,
        )?;
        set(
            "AuthorKeyDigest",
            self.author_key_digest.as_deref(),
            &mut report.author_key_digest,
        )?;
        if let Some(level) = self.vmpl {
            if level > 3 {
                return Err(claim("VMPL", "0 to 3", &level.to_string()));
            }
            report.vmpl = level;
        }
        if self.debug {
            report.policy |= SNP_DEBUG;
        }
        Ok(())
    }
}

/// A report to try claims on.
fn blank_report() -> SnpReportFields {
    SnpReportFields {
        version: 3,
        guest_svn: 0,
        policy: 0,
        family_id: [0; 16],
        image_id: [0; 16],
        vmpl: 0,
        signing_key: 0,
        report_data: [0; REPORT_DATA_SIZE],
        measurement: [0; 48],
        host_data: [0; 32],
        id_key_digest: [0; 48],
        author_key_digest: [0; 48],
        reported_tcb: [0; 8],
        cpuid: [0; 2],
        chip_id: [0; 64],
    }
}

fn snp_product(name: Option<&str>) -> Result<SnpProduct, ProfileError> {
    let Some(name) = name else {
        return Ok(SnpProduct::Milan);
    };
    SnpProduct::named(name).ok_or_else(|| claim("Product", "Milan, Genoa or Turin", name))
}

fn set(name: &'static str, text: Option<&str>, target: &mut [u8]) -> Result<(), ProfileError> {
    let Some(text) = text else { return Ok(()) };
    hex::decode_to_slice(text, target)
        .map_err(|_| claim(name, &format!("{} hexadecimal digits", 2 * target.len()), text))
}

fn claim(claim: &'static str, expected: &str, found: &str) -> ProfileError {
    ProfileError::Claim {
        claim,
        expected: expected.to_owned(),
        found: found.chars().take(200).collect(),
    }
}

fn copy(from: &[u8], to: &mut [u8]) {
    for (target, byte) in to.iter_mut().zip(from) {
        *target = *byte;
    }
}
