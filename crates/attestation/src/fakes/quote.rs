//! Quotes of the software TEE.

use super::FakeError;
use super::intel::IntelPlatform;
use crate::binding::{REPORT_DATA_SIZE, ReportBinding};
use crate::collateral::{DcapTee, sha256};

/// MRSIGNER of the quoting enclave.
pub(super) const QE_SIGNER: [u8; 32] = [0x8C; 32];

/// A quote before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteFields {
    /// Version: 3, 4 or 5.
    pub version: u16,
    /// Attestation key type.
    pub attestation_key_type: u16,
    /// QE vendor.
    pub vendor: [u8; 16],
    /// The report.
    pub body: BodyFields,
    /// The report of the quoting enclave. Its report data is set when the quote is signed, unless
    /// [`QuoteFields::keep_qe_report_data`].
    pub quoting_enclave: EnclaveFields,
    /// Whether the report data of the quoting enclave stays as it is.
    pub keep_qe_report_data: bool,
    /// Authentication data of the quoting enclave.
    pub authentication_data: Vec<u8>,
    /// Type of the certification data that holds the PCK chain.
    pub certification_data_type: u16,
}

/// The report in a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyFields {
    /// Of an enclave.
    Sgx(EnclaveFields),
    /// Of a trust domain.
    Tdx(Box<TdFields>),
}

/// Report of an enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the format")]
pub struct EnclaveFields {
    pub cpu_svn: [u8; 16],
    pub misc_select: [u8; 4],
    pub attributes: [u8; 16],
    pub mr_enclave: [u8; 32],
    pub mr_signer: [u8; 32],
    pub product_id: u16,
    pub security_version: u16,
    pub report_data: [u8; REPORT_DATA_SIZE],
}

/// Report of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the format")]
pub struct TdFields {
    pub tee_tcb_svn: [u8; 16],
    pub mr_seam: [u8; 48],
    pub mr_signer_seam: [u8; 48],
    pub seam_attributes: [u8; 8],
    pub attributes: [u8; 8],
    pub xfam: [u8; 8],
    pub mrtd: [u8; 48],
    pub mr_config_id: [u8; 48],
    pub mr_owner: [u8; 48],
    pub mr_owner_config: [u8; 48],
    pub rtmr: [[u8; 48]; 4],
    pub report_data: [u8; REPORT_DATA_SIZE],
    /// TD report 1.5: security versions now and hash of service TDs.
    pub since_15: Option<([u8; 16], [u8; 48])>,
}

impl EnclaveFields {
    /// An enclave that is not under debug.
    pub fn new(binding: &ReportBinding) -> Self {
        Self {
            cpu_svn: [7; 16],
            misc_select: [0; 4],
            attributes: [0x05, 0, 0, 0, 0, 0, 0, 0, 0x07, 0, 0, 0, 0, 0, 0, 0],
            mr_enclave: [0xE1; 32],
            mr_signer: [0x51; 32],
            product_id: 1,
            security_version: 1,
            report_data: binding.report_data(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        [
            &self.cpu_svn[..],
            &self.misc_select,
            &[0; 28],
            &self.attributes,
            &self.mr_enclave,
            &[0; 32],
            &self.mr_signer,
            &[0; 96],
            &self.product_id.to_le_bytes(),
            &self.security_version.to_le_bytes(),
            &[0; 60],
            &self.report_data,
        ]
        .concat()
    }
}

impl TdFields {
    /// A trust domain that is not under debug, with a TD report 1.0.
    pub fn new(binding: &ReportBinding) -> Self {
        Self {
            tee_tcb_svn: [5, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
            mr_seam: [0x5E; 48],
            mr_signer_seam: [0; 48],
            seam_attributes: [0; 8],
            attributes: [0, 0, 0, 0x10, 0, 0, 0, 0],
            xfam: [0xE7, 0x02, 0x06, 0, 0, 0, 0, 0],
            mrtd: [0xD0; 48],
            mr_config_id: [0xC0; 48],
            mr_owner: [0x0A; 48],
            mr_owner_config: [0x0C; 48],
            rtmr: [[0xA0; 48], [0xA1; 48], [0xA2; 48], [0xA3; 48]],
            report_data: binding.report_data(),
            since_15: None,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [
            &self.tee_tcb_svn[..],
            &self.mr_seam,
            &self.mr_signer_seam,
            &self.seam_attributes,
            &self.attributes,
            &self.xfam,
            &self.mrtd,
            &self.mr_config_id,
            &self.mr_owner,
            &self.mr_owner_config,
            self.rtmr.as_flattened(),
            &self.report_data,
        ]
        .concat();
        if let Some((now, service)) = &self.since_15 {
            bytes.extend_from_slice(now);
            bytes.extend_from_slice(service);
        }
        bytes
    }
}

impl QuoteFields {
    /// An SGX quote of version 3.
    pub fn sgx(enclave: EnclaveFields) -> Self {
        Self::new(3, BodyFields::Sgx(enclave))
    }

    /// A TDX quote of version 4.
    pub fn tdx_v4(trust_domain: TdFields) -> Self {
        Self::new(4, BodyFields::Tdx(Box::new(trust_domain)))
    }

    /// A TDX quote of version 5.
    pub fn tdx_v5(trust_domain: TdFields) -> Self {
        Self::new(5, BodyFields::Tdx(Box::new(trust_domain)))
    }

    fn new(version: u16, body: BodyFields) -> Self {
        let quoting_enclave = EnclaveFields {
            attributes: [0x11, 0, 0, 0, 0, 0, 0, 0, 0xE7, 0, 0, 0, 0, 0, 0, 0],
            mr_signer: QE_SIGNER,
            security_version: 8,
            ..EnclaveFields::new(&ReportBinding::report_data_itself([0; REPORT_DATA_SIZE]))
        };
        Self {
            version,
            attestation_key_type: 2,
            vendor: *b"\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07",
            body,
            quoting_enclave,
            keep_qe_report_data: false,
            authentication_data: (0..32).collect(),
            certification_data_type: 5,
        }
    }

    /// The kind of TEE it is of.
    pub fn tee(&self) -> DcapTee {
        match self.body {
            BodyFields::Sgx(_) => DcapTee::Sgx,
            BodyFields::Tdx(_) => DcapTee::Tdx,
        }
    }

    /// The quote, signed by the platform, without Open Enclave header.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign(&self, platform: &IntelPlatform) -> Result<Vec<u8>, FakeError> {
        self.sign_with_chain(platform, &platform.pck_chain()?)
    }

    /// The quote, signed by the platform, with a PCK chain that was signed before: signatures are random, so a
    /// platform whose chain is signed anew is another one to a verifier's memory.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign_with_chain(&self, platform: &IntelPlatform, chain: &str) -> Result<Vec<u8>, FakeError> {
        let body = match &self.body {
            BodyFields::Sgx(enclave) => enclave.bytes(),
            BodyFields::Tdx(trust_domain) => trust_domain.bytes(),
        };
        let signed = [self.header(&body), body].concat();

        let key = platform.attestation_key.public().get(1..).unwrap_or_default();
        let mut quoting_enclave = self.quoting_enclave.clone();
        if !self.keep_qe_report_data {
            let hash = sha256(&[key, &self.authentication_data].concat());
            quoting_enclave.report_data = [0; REPORT_DATA_SIZE];
            for (target, byte) in quoting_enclave.report_data.iter_mut().zip(hash) {
                *target = byte;
            }
        }
        let qe_report = quoting_enclave.bytes();
        let certification = [
            &qe_report[..],
            &platform.pck_key.sign_fixed(&qe_report)?,
            &(self.authentication_data.len() as u16).to_le_bytes(),
            &self.authentication_data,
            &self.certification_data_type.to_le_bytes(),
            &(chain.len() as u32).to_le_bytes(),
            chain.as_bytes(),
        ]
        .concat();
        let certification = match self.version {
            3 => certification,
            _ => [
                &6_u16.to_le_bytes()[..],
                &(certification.len() as u32).to_le_bytes(),
                &certification,
            ]
            .concat(),
        };
        let data = [
            &platform.attestation_key.sign_fixed(&signed)?[..],
            key,
            &certification,
        ]
        .concat();
        Ok([&signed[..], &(data.len() as u32).to_le_bytes(), &data].concat())
    }

    /// Header and, in version 5, type and size of the body.
    fn header(&self, body: &[u8]) -> Vec<u8> {
        let tee_type: u32 = match self.tee() {
            DcapTee::Sgx => 0,
            DcapTee::Tdx => 0x81,
        };
        let mut header = [
            &self.version.to_le_bytes()[..],
            &self.attestation_key_type.to_le_bytes(),
            &tee_type.to_le_bytes(),
            &[0; 4],
            &self.vendor,
            &[0; 20],
        ]
        .concat();
        if self.version == 5 {
            let body_type: u16 = match &self.body {
                BodyFields::Tdx(fields) if fields.since_15.is_some() => 3,
                _ => 2,
            };
            header.extend_from_slice(&body_type.to_le_bytes());
            header.extend_from_slice(&(body.len() as u32).to_le_bytes());
        }
        header
    }
}
