//! A SEV-SNP platform of the software TEE: its certificates and its reports.

use std::sync::Arc;

use super::FakeError;
use super::der_writer::{IA5_STRING, integer, tlv};
use super::key::Key;
use super::x509::{CertificateFields, Extension, ListFields, pem};
use crate::binding::{REPORT_DATA_SIZE, ReportBinding};
use crate::claims::{SnpProduct, SnpSigningKey, SnpTcb};
use crate::collateral::{SnpCollateral, SnpRevocation};
use crate::quote::SNP_REPORT_SIZE;

const EXTENSION: &str = "1.3.6.1.4.1.3704.1";

/// A platform. Change what should be different, then sign anew: whatever is made from it is signed when it is made.
#[derive(Debug, Clone)]
pub struct SnpPlatform {
    /// Product line of the processor.
    pub product: SnpProduct,
    /// Certificate of the root.
    pub ark: CertificateFields,
    /// The root as issued once; without it a new one is signed.
    pub ark_as_issued: Option<Vec<u8>>,
    /// Certificate of ASK or ASVK.
    pub intermediate: CertificateFields,
    /// Certificate of VCEK or VLEK, without the extensions below.
    pub endorsement: CertificateFields,
    /// Product name in the certificate of the endorsement key.
    pub product_name: String,
    /// Security versions in the certificate of the endorsement key.
    pub tcb: SnpTcb,
    /// Hardware id in the certificate of a VCEK: 64 or 8 bytes.
    pub hardware_id: Option<Vec<u8>>,
    /// Revocation list of the root.
    pub list: ListFields,
    /// Key of the root.
    pub ark_key: Arc<Key>,
    /// Key of ASK or ASVK.
    pub intermediate_key: Arc<Key>,
    /// VCEK or VLEK.
    pub endorsement_key: Arc<Key>,
}

impl SnpPlatform {
    pub(super) fn new(
        keys: [Arc<Key>; 3],
        ark_as_issued: Option<Vec<u8>>,
        product: SnpProduct,
        signing_key: SnpSigningKey,
    ) -> Self {
        let [ark_key, intermediate_key, endorsement_key] = keys;
        let ark = ark_name(product);
        let (intermediate, endorsement) = match signing_key {
            SnpSigningKey::Vcek => (format!("SEV-{product}"), "SEV-VCEK"),
            SnpSigningKey::Vlek => (format!("SEV-VLEK-{product}"), "SEV-VLEK"),
        };
        let stepping = match signing_key {
            SnpSigningKey::Vcek => "-B0",
            SnpSigningKey::Vlek => "",
        };
        let chip = match product {
            SnpProduct::Turin => 8,
            SnpProduct::Milan | SnpProduct::Genoa => 64,
        };
        Self {
            product,
            ark: CertificateFields::new(1, &ark, &ark, true),
            ark_as_issued,
            intermediate: CertificateFields::new(2, &ark, &intermediate, true),
            endorsement: CertificateFields::new(0, &intermediate, endorsement, false),
            product_name: format!("{product}{stepping}"),
            tcb: SnpTcb {
                fmc: (product == SnpProduct::Turin).then_some(1),
                boot_loader: 3,
                tee: 2,
                snp: 8,
                microcode: 200,
            },
            hardware_id: (signing_key == SnpSigningKey::Vcek).then(|| vec![0xC1; chip]),
            list: ListFields::new(&ark),
            ark_key,
            intermediate_key,
            endorsement_key,
        }
    }

    /// Certificate of the root, DER.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn ark_der(&self) -> Result<Vec<u8>, FakeError> {
        match &self.ark_as_issued {
            Some(der) => Ok(der.clone()),
            None => self.ark.sign(&self.ark_key, &self.ark_key),
        }
    }

    /// Certificate of the intermediate, DER.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn intermediate_der(&self) -> Result<Vec<u8>, FakeError> {
        self.intermediate.sign(&self.intermediate_key, &self.ark_key)
    }

    /// Certificate of the endorsement key, DER.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn endorsement_der(&self) -> Result<Vec<u8>, FakeError> {
        let mut fields = self.endorsement.clone();
        let mut add = |id: &str, value: Vec<u8>| {
            fields.extensions.push(Extension {
                id: format!("{EXTENSION}.{id}"),
                critical: false,
                value,
            });
        };
        add("1", integer(&[1]));
        add("2", tlv(IA5_STRING, &[self.product_name.as_bytes()]));
        add("3.1", integer(&[self.tcb.boot_loader]));
        add("3.2", integer(&[self.tcb.tee]));
        add("3.3", integer(&[self.tcb.snp]));
        add("3.5", integer(&[0]));
        add("3.8", integer(&[self.tcb.microcode]));
        if let Some(fmc) = self.tcb.fmc {
            add("3.9", integer(&[fmc]));
        }
        if let Some(id) = &self.hardware_id {
            add("4", id.clone());
        }
        fields.sign(&self.endorsement_key, &self.intermediate_key)
    }

    /// All certificates and the revocation list.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn collateral(&self) -> Result<SnpCollateral, FakeError> {
        let chain = pem(&[&self.intermediate_der()?, &self.ark_der()?]);
        Ok(
            SnpCollateral::new(SnpRevocation::Checked(self.list.sign(&self.ark_key)?))
                .with_endorsement_key(self.endorsement_der()?)
                .with_authorities(chain.as_bytes())?,
        )
    }
}

pub(super) fn ark_name(product: SnpProduct) -> String {
    format!("ARK-{product}")
}

/// A report before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the format")]
pub struct SnpReportFields {
    pub version: u32,
    pub guest_svn: u32,
    pub policy: u64,
    pub family_id: [u8; 16],
    pub image_id: [u8; 16],
    pub vmpl: u32,
    /// 0 for VCEK, 1 for VLEK.
    pub signing_key: u32,
    pub report_data: [u8; REPORT_DATA_SIZE],
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub id_key_digest: [u8; 48],
    pub author_key_digest: [u8; 48],
    pub reported_tcb: [u8; 8],
    /// Combined family and model of CPUID; version 2 has zeros.
    pub cpuid: [u8; 2],
    pub chip_id: [u8; 64],
}

impl SnpReportFields {
    /// A report of version 3 of a guest that is not under debug.
    pub fn new(platform: &SnpPlatform, signing_key: SnpSigningKey, binding: &ReportBinding) -> Self {
        let tcb = platform.tcb;
        let (reported_tcb, cpuid) = match platform.product {
            SnpProduct::Milan => (old_tcb(&tcb), [0x19, 0x01]),
            SnpProduct::Genoa => (old_tcb(&tcb), [0x19, 0x11]),
            SnpProduct::Turin => (
                [
                    tcb.fmc.unwrap_or(0),
                    tcb.boot_loader,
                    tcb.tee,
                    tcb.snp,
                    0,
                    0,
                    0,
                    tcb.microcode,
                ],
                [0x1A, 0x02],
            ),
        };
        let mut chip_id = [0; 64];
        for (target, byte) in chip_id.iter_mut().zip(platform.hardware_id.iter().flatten()) {
            *target = *byte;
        }
        Self {
            version: 3,
            guest_svn: 1,
            policy: 0x3_0000,
            family_id: [0xFA; 16],
            image_id: [0x1A; 16],
            vmpl: 0,
            signing_key: match signing_key {
                SnpSigningKey::Vcek => 0,
                SnpSigningKey::Vlek => 1,
            },
            report_data: binding.report_data(),
            measurement: [0x3E; 48],
            host_data: [0x05; 32],
            id_key_digest: [0x1D; 48],
            author_key_digest: [0xA7; 48],
            reported_tcb,
            cpuid,
            chip_id,
        }
    }

    /// The report, signed by the platform.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn sign(&self, platform: &SnpPlatform) -> Result<Vec<u8>, FakeError> {
        let mut report = [
            &self.version.to_le_bytes()[..],
            &self.guest_svn.to_le_bytes(),
            &self.policy.to_le_bytes(),
            &self.family_id,
            &self.image_id,
            &self.vmpl.to_le_bytes(),
            &1_u32.to_le_bytes(),
            &self.reported_tcb,
            &[0; 8],
            &(self.signing_key << 2).to_le_bytes(),
            &[0; 4],
            &self.report_data,
            &self.measurement,
            &self.host_data,
            &self.id_key_digest,
            &self.author_key_digest,
            &[0x1D; 32],
            &[0xFF; 32],
            &self.reported_tcb,
            &self.cpuid,
            &[0; 22],
            &self.chip_id,
            &self.reported_tcb,
            &[0; 8],
            &self.reported_tcb,
            &[0; 168],
        ]
        .concat();
        let signature = platform.endorsement_key.sign_fixed(&report)?;
        for scalar in signature.chunks(48) {
            report.extend(scalar.iter().rev());
            report.extend([0; 24]);
        }
        report.resize(SNP_REPORT_SIZE, 0);
        Ok(report)
    }
}

/// Layout of Milan and Genoa.
fn old_tcb(tcb: &SnpTcb) -> [u8; 8] {
    [tcb.boot_loader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode]
}
