//! An SGX and TDX platform of the software TEE: its certificates and its collateral.

use std::sync::Arc;

use serde_json::{Value, json};

use super::der_writer::{ENUMERATED, OCTET_STRING, integer, oid, sequence, tlv};
use super::key::Key;
use super::x509::{CertificateFields, Extension, ListFields, pem};
use super::{FROM, FakeError, UNTIL};
use crate::collateral::{CollateralError, DcapCollateral, DcapCollateralParts, DcapTee};

const ROOT: &str = "Software TEE SGX Root CA";
const CA: &str = "Intel SGX PCK Platform CA";
const SGX_EXTENSION: &str = "1.2.840.113741.1.13.1";

/// A platform. Change what should be different, then sign anew: whatever is made from it is signed when it is made.
#[derive(Debug, Clone)]
pub struct IntelPlatform {
    /// Certificate of the root.
    pub root: CertificateFields,
    /// The root as issued once; without it a new one is signed.
    pub root_as_issued: Option<Vec<u8>>,
    /// Certificate of the PCK CA.
    pub ca: CertificateFields,
    /// Certificate of the platform, without the SGX extension.
    pub pck: CertificateFields,
    /// The SGX extension of the platform's certificate.
    pub extension: PckExtension,
    /// Certificate of the signer of TCB information and QE identity.
    pub signer: CertificateFields,
    /// Revocation list of the root.
    pub root_list: ListFields,
    /// Revocation list of the PCK CA.
    pub pck_list: ListFields,
    /// TCB information, by the names of the PCS API.
    pub tcb_info: Value,
    /// QE identity, by the names of the PCS API.
    pub qe_identity: Value,
    /// Key of the root.
    pub root_key: Arc<Key>,
    /// Key of the PCK CA.
    pub ca_key: Arc<Key>,
    /// Key of the platform.
    pub pck_key: Arc<Key>,
    /// Key of the signer of collateral.
    pub signer_key: Arc<Key>,
    /// Key that signs quotes.
    pub attestation_key: Arc<Key>,
}

/// What the certificate of a platform says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PckExtension {
    /// FMSPC, 6 bytes.
    pub fmspc: Vec<u8>,
    /// PCE-ID, 2 bytes.
    pub pce_id: Vec<u8>,
    /// CPUSVN, 16 bytes.
    pub cpu_svn: Vec<u8>,
    /// SGX TCB components 1 to 16.
    pub components: Vec<u8>,
    /// PCESVN.
    pub pce_svn: u16,
    /// Whether the extension is there at all.
    pub present: bool,
}

impl PckExtension {
    fn der(&self) -> Vec<u8> {
        let entry = |id: &str, value: &[u8]| sequence(&[&oid(&format!("{SGX_EXTENSION}.{id}")), value]);
        let octets = |bytes: &[u8]| tlv(OCTET_STRING, &[bytes]);
        let mut tcb = Vec::new();
        for (number, component) in self.components.iter().enumerate() {
            tcb.extend(entry(&format!("2.{}", number + 1), &integer(&[*component])));
        }
        tcb.extend(entry("2.17", &integer(&self.pce_svn.to_be_bytes())));
        tcb.extend(entry("2.18", &octets(&self.cpu_svn)));
        sequence(&[
            &entry("1", &octets(&[0x50; 16])),
            &entry("2", &sequence(&[&tcb])),
            &entry("3", &octets(&self.pce_id)),
            &entry("4", &octets(&self.fmspc)),
            &entry("5", &tlv(ENUMERATED, &[&[1]])),
        ])
    }
}

impl IntelPlatform {
    pub(super) fn new(keys: [Key; 5], root_as_issued: Option<Vec<u8>>, tee: DcapTee) -> Self {
        let [root_key, ca_key, pck_key, signer_key, attestation_key] = keys.map(Arc::new);
        Self {
            root: CertificateFields::new(1, ROOT, ROOT, true),
            root_as_issued,
            ca: CertificateFields::new(2, ROOT, CA, true),
            pck: CertificateFields::new(3, CA, "Intel SGX PCK Certificate", false),
            extension: PckExtension {
                fmspc: vec![0x50, 0x60, 0x70, 0, 0, 0],
                pce_id: vec![0, 0],
                cpu_svn: vec![7; 16],
                components: vec![7; 16],
                pce_svn: 11,
                present: true,
            },
            signer: CertificateFields::new(4, ROOT, "Intel SGX TCB Signing", false),
            root_list: ListFields::new(ROOT),
            pck_list: ListFields::new(CA),
            tcb_info: tcb_info(tee),
            qe_identity: qe_identity(tee),
            root_key,
            ca_key,
            pck_key,
            signer_key,
            attestation_key,
        }
    }

    /// The same platform with collateral for the other TEE.
    #[must_use]
    pub fn with_collateral_for(mut self, tee: DcapTee) -> Self {
        self.tcb_info = tcb_info(tee);
        self.qe_identity = qe_identity(tee);
        self
    }

    /// Certificate of the root, DER.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn root_der(&self) -> Result<Vec<u8>, FakeError> {
        match &self.root_as_issued {
            Some(der) => Ok(der.clone()),
            None => self.root.sign(&self.root_key, &self.root_key),
        }
    }

    /// The PCK chain in PEM: platform, PCK CA, root.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn pck_chain(&self) -> Result<String, FakeError> {
        let mut pck = self.pck.clone();
        if self.extension.present {
            pck.extensions.push(Extension {
                id: SGX_EXTENSION.to_owned(),
                critical: false,
                value: self.extension.der(),
            });
        }
        Ok(pem(&[
            &pck.sign(&self.pck_key, &self.ca_key)?,
            &self.ca.sign(&self.ca_key, &self.root_key)?,
            &self.root_der()?,
        ]))
    }

    /// Collateral, signed.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn parts(&self) -> Result<DcapCollateralParts, FakeError> {
        let root = self.root_der()?;
        let signer_chain = pem(&[&self.signer.sign(&self.signer_key, &self.root_key)?, &root]);
        let (tcb_info, qe_identity) = (self.tcb_info.to_string(), self.qe_identity.to_string());
        Ok(DcapCollateralParts {
            pck_crl_issuer_chain: pem(&[&self.ca.sign(&self.ca_key, &self.root_key)?, &root]),
            root_ca_crl: self.root_list.sign(&self.root_key)?,
            pck_crl: self.pck_list.sign(&self.ca_key)?,
            tcb_info_issuer_chain: signer_chain.clone(),
            tcb_info_signature: self.signer_key.sign_fixed(tcb_info.as_bytes())?,
            tcb_info,
            qe_identity_issuer_chain: signer_chain,
            qe_identity_signature: self.signer_key.sign_fixed(qe_identity.as_bytes())?,
            qe_identity,
        })
    }

    /// Collateral, signed and read.
    ///
    /// # Errors
    /// The cryptographic library fails, or a field was changed to something that cannot be read.
    pub fn collateral(&self) -> Result<DcapCollateral, FakeError> {
        Ok(DcapCollateral::new(self.parts()?)?)
    }
}

impl From<CollateralError> for FakeError {
    fn from(error: CollateralError) -> Self {
        Self::Collateral(Box::new(error))
    }
}

fn components(svn: u8) -> Value {
    Value::Array(vec![json!({ "svn": svn }); 16])
}

fn tcb_info(tee: DcapTee) -> Value {
    let level = |svn: u8, status: &str, advisories: &[&str]| {
        let mut level = json!({
            "tcb": { "sgxtcbcomponents": components(svn), "pcesvn": 11 },
            "tcbDate": "2024-03-13T00:00:00Z",
            "tcbStatus": status,
        });
        if let (Some(tcb), DcapTee::Tdx) = (level.get_mut("tcb").and_then(Value::as_object_mut), tee) {
            tcb.insert("tdxtcbcomponents".to_owned(), components(svn));
        }
        if let (Some(level), false) = (level.as_object_mut(), advisories.is_empty()) {
            level.insert("advisoryIDs".to_owned(), json!(advisories));
        }
        level
    };
    let identity = json!({
        "mrsigner": "00".repeat(48),
        "attributes": "00".repeat(8),
        "attributesMask": "FF".repeat(8),
    });
    let mut info = json!({
        "id": match tee { DcapTee::Sgx => "SGX", DcapTee::Tdx => "TDX" },
        "version": 3,
        "issueDate": FROM.to_string(),
        "nextUpdate": UNTIL.to_string(),
        "fmspc": "506070000000",
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": 17,
        "tcbLevels": [
            level(7, "UpToDate", &[]),
            level(5, "SWHardeningNeeded", &["INTEL-SA-00001"]),
            level(3, "OutOfDate", &["INTEL-SA-00001", "INTEL-SA-00002"]),
        ],
    });
    if let (Some(info), DcapTee::Tdx) = (info.as_object_mut(), tee) {
        let mut versioned = identity.clone();
        if let Some(entry) = versioned.as_object_mut() {
            let level = |svn: u8, status: &str| json!({ "tcb": { "isvsvn": svn }, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": status });
            entry.insert("id".to_owned(), json!("TDX_01"));
            entry.insert(
                "tcbLevels".to_owned(),
                json!([level(5, "UpToDate"), level(2, "OutOfDate")]),
            );
        }
        info.insert("tdxModule".to_owned(), identity);
        info.insert("tdxModuleIdentities".to_owned(), json!([versioned]));
    }
    info
}

fn qe_identity(tee: DcapTee) -> Value {
    json!({
        "id": match tee { DcapTee::Sgx => "QE", DcapTee::Tdx => "TD_QE" },
        "version": 2,
        "issueDate": FROM.to_string(),
        "nextUpdate": UNTIL.to_string(),
        "tcbEvaluationDataNumber": 17,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": hex::encode(super::quote::QE_SIGNER),
        "isvprodid": 1,
        "tcbLevels": [
            { "tcb": { "isvsvn": 8 }, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "UpToDate" },
            { "tcb": { "isvsvn": 5 }, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "OutOfDate" },
        ],
    })
}
