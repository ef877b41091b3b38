//! What evidence proves once it is verified. Plain data: proof of verification is [`crate::Verified`] around it.

use std::fmt;

use crate::binding::REPORT_DATA_SIZE;
use crate::reason::Reason;
use crate::tcb::TcbStatus;

/// A product line of AMD that has SEV-SNP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnpProduct {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004, with Bergamo and Siena.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl SnpProduct {
    /// All.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The one of this name, case included.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|product| product.as_str() == name)
    }

    /// The name, as AMD's key distribution service spells it in its addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }
}

impl fmt::Display for SnpProduct {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a SEV-SNP report is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnpSigningKey {
    /// Versioned chip endorsement key: of one chip.
    Vcek,
    /// Versioned loaded endorsement key: of a cloud provider.
    Vlek,
}

/// Security versions of the components of a SEV-SNP platform (SEV-SNP ABI specification, TCB_VERSION).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnpTcb {
    /// Component FMC; on Turin only.
    pub fmc: Option<u8>,
    /// Boot loader of the secure processor.
    pub boot_loader: u8,
    /// Operating system of the secure processor.
    pub tee: u8,
    /// SEV-SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

impl SnpTcb {
    /// Takes the 8 bytes of a TCB_VERSION apart; where components lie depends on the product line.
    ///
    /// # Errors
    /// Bytes that the product line reserves are not zero.
    pub fn read(product: SnpProduct, bytes: &[u8; 8]) -> Result<Self, Reason> {
        let [first, second, third, fourth, fifth, sixth, seventh, microcode] = *bytes;
        let (tcb, reserved) = match product {
            SnpProduct::Milan | SnpProduct::Genoa => (
                Self {
                    fmc: None,
                    boot_loader: first,
                    tee: second,
                    snp: seventh,
                    microcode,
                },
                [third, fourth, fifth, sixth],
            ),
            SnpProduct::Turin => (
                Self {
                    fmc: Some(first),
                    boot_loader: second,
                    tee: third,
                    snp: fourth,
                    microcode,
                },
                [fifth, sixth, seventh, 0],
            ),
        };
        crate::layout::zero("reserved bytes of the reported TCB", &reserved)?;
        Ok(tcb)
    }
}

/// The claims of one piece of evidence, by TEE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claims {
    /// An SGX enclave.
    Sgx(Box<SgxClaims>),
    /// An Intel TDX trust domain.
    Tdx(Box<TdxClaims>),
    /// An AMD SEV-SNP guest.
    Snp(Box<SnpClaims>),
}

impl Claims {
    /// The TEE: `SGX`, `TDX` or `SEV-SNP`.
    pub fn tee(&self) -> &'static str {
        match self {
            Self::Sgx(_) => "SGX",
            Self::Tdx(_) => "TDX",
            Self::Snp(_) => "SEV-SNP",
        }
    }

    /// Whether the TEE can be looked into by its host. Such evidence matches only packages with `Debug` set.
    pub fn debug(&self) -> bool {
        match self {
            Self::Sgx(claims) => claims.debug,
            Self::Tdx(claims) => claims.debug,
            Self::Snp(claims) => claims.debug,
        }
    }

    /// The report data, 64 bytes.
    pub fn report_data(&self) -> &[u8; REPORT_DATA_SIZE] {
        match self {
            Self::Sgx(claims) => &claims.report_data,
            Self::Tdx(claims) => &claims.report_data,
            Self::Snp(claims) => &claims.report_data,
        }
    }
}

/// Claims of an SGX quote and of the certificates and TCB information behind it.
#[derive(Clone, PartialEq, Eq)]
pub struct SgxClaims {
    /// MRENCLAVE: what the enclave is made of.
    pub unique_id: [u8; 32],
    /// MRSIGNER: SHA-256 of the modulus of the key that signed the enclave.
    pub signer_id: [u8; 32],
    /// ISVPRODID.
    pub product_id: u16,
    /// ISVSVN.
    pub security_version: u16,
    /// Attribute DEBUG: the host can read and change the enclave's memory.
    pub debug: bool,
    /// Rating of the platform at the time of verification.
    pub tcb_status: TcbStatus,
    /// Security advisories that go with the rating; `None` when the TCB information has no such list, which is not
    /// the same as an empty one (spec/08).
    pub advisories: Option<Vec<String>>,
    /// CPUSVN in the PCK certificate.
    pub cpu_svn: [u8; 16],
    /// Security version of the quoting enclave.
    pub qe_svn: u16,
    /// Security version of the provisioning certification enclave.
    pub pce_svn: u16,
    /// The root certificate the PCK chain ends in, DER.
    pub root_ca: Vec<u8>,
    /// REPORTDATA.
    pub report_data: [u8; REPORT_DATA_SIZE],
}

/// Claims of a TDX quote and of the certificates and TCB information behind it.
#[derive(Clone, PartialEq, Eq)]
pub struct TdxClaims {
    /// MRTD: what the trust domain was started from.
    pub mrtd: [u8; 48],
    /// RTMR0 to RTMR3: what was measured since.
    pub rtmr: [[u8; 48]; 4],
    /// MRCONFIGID.
    pub mr_config_id: [u8; 48],
    /// MROWNER.
    pub mr_owner: [u8; 48],
    /// MROWNERCONFIG.
    pub mr_owner_config: [u8; 48],
    /// MRSEAM: the TDX module.
    pub mr_seam: [u8; 48],
    /// MRSIGNERSEAM: who signed the TDX module; all zero for Intel.
    pub mr_signer_seam: [u8; 48],
    /// TDATTRIBUTES, the bytes as in the quote.
    pub attributes: [u8; 8],
    /// XFAM, the bytes as in the quote.
    pub xfam: [u8; 8],
    /// Any bit of the group TUD of TDATTRIBUTES: the trust domain is not to be trusted with secrets.
    pub debug: bool,
    /// TEE_TCB_SVN.
    pub tee_tcb_svn: [u8; 16],
    /// Rating of the platform and the TDX module at the time of verification.
    pub tcb_status: TcbStatus,
    /// As in [`SgxClaims::advisories`].
    pub advisories: Option<Vec<String>>,
    /// CPUSVN in the PCK certificate.
    pub cpu_svn: [u8; 16],
    /// Security version of the quoting enclave.
    pub qe_svn: u16,
    /// Security version of the provisioning certification enclave.
    pub pce_svn: u16,
    /// The root certificate the PCK chain ends in, DER.
    pub root_ca: Vec<u8>,
    /// REPORTDATA.
    pub report_data: [u8; REPORT_DATA_SIZE],
}

/// Claims of an SEV-SNP attestation report and of the certificates behind it.
#[derive(Clone, PartialEq, Eq)]
pub struct SnpClaims {
    /// Product line of the processor.
    pub product: SnpProduct,
    /// What the report is signed with.
    pub signing_key: SnpSigningKey,
    /// Components of [`SnpClaims::reported_tcb`].
    pub tcb: SnpTcb,
    /// MEASUREMENT: what the guest was launched from.
    pub measurement: [u8; 48],
    /// HOST_DATA: given by the host at launch.
    pub host_data: [u8; 32],
    /// ID_KEY_DIGEST: SHA-384 of the key that signed the ID block; zero without one.
    pub id_key_digest: [u8; 48],
    /// AUTHOR_KEY_DIGEST: SHA-384 of the key that certified the ID key; zero without one.
    pub author_key_digest: [u8; 48],
    /// FAMILY_ID of the ID block.
    pub family_id: [u8; 16],
    /// IMAGE_ID of the ID block.
    pub image_id: [u8; 16],
    /// GUEST_SVN of the ID block.
    pub guest_svn: u32,
    /// POLICY of the guest, as a number.
    pub policy: u64,
    /// POLICY bit DEBUG: the host can decrypt the guest's memory.
    pub debug: bool,
    /// POLICY bit MIGRATE_MA: a migration agent may be associated with the guest.
    pub migration_agent_allowed: bool,
    /// VMPL the report was asked from, 0 to 3.
    pub vmpl: u32,
    /// REPORTED_TCB, the bytes as in the report: the version the endorsement key is derived for.
    pub reported_tcb: [u8; 8],
    /// COMMITTED_TCB, the bytes as in the report: the platform cannot go back below it.
    pub committed_tcb: [u8; 8],
    /// LAUNCH_TCB, the bytes as in the report: the version when the guest was started.
    pub launch_tcb: [u8; 8],
    /// Whether a list of revoked certificates was consulted.
    pub revocation_checked: bool,
    /// CHIP_ID; zero when the host masks it.
    pub chip_id: [u8; 64],
    /// REPORT_DATA.
    pub report_data: [u8; REPORT_DATA_SIZE],
}

impl fmt::Debug for SgxClaims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SgxClaims")
            .field("unique_id", &hex::encode(self.unique_id))
            .field("signer_id", &hex::encode(self.signer_id))
            .field("product_id", &self.product_id)
            .field("security_version", &self.security_version)
            .field("debug", &self.debug)
            .field("tcb_status", &self.tcb_status)
            .field("advisories", &self.advisories)
            .field("cpu_svn", &hex::encode(self.cpu_svn))
            .field("qe_svn", &self.qe_svn)
            .field("pce_svn", &self.pce_svn)
            .field("report_data", &hex::encode(self.report_data))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TdxClaims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TdxClaims")
            .field("mrtd", &hex::encode(self.mrtd))
            .field("rtmr", &self.rtmr.map(hex::encode))
            .field("mr_config_id", &hex::encode(self.mr_config_id))
            .field("mr_owner", &hex::encode(self.mr_owner))
            .field("mr_owner_config", &hex::encode(self.mr_owner_config))
            .field("mr_seam", &hex::encode(self.mr_seam))
            .field("attributes", &hex::encode(self.attributes))
            .field("debug", &self.debug)
            .field("tee_tcb_svn", &hex::encode(self.tee_tcb_svn))
            .field("tcb_status", &self.tcb_status)
            .field("advisories", &self.advisories)
            .field("report_data", &hex::encode(self.report_data))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SnpClaims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SnpClaims")
            .field("product", &self.product)
            .field("signing_key", &self.signing_key)
            .field("tcb", &self.tcb)
            .field("measurement", &hex::encode(self.measurement))
            .field("host_data", &hex::encode(self.host_data))
            .field("id_key_digest", &hex::encode(self.id_key_digest))
            .field("author_key_digest", &hex::encode(self.author_key_digest))
            .field("guest_svn", &self.guest_svn)
            .field("policy", &format_args!("{:#x}", self.policy))
            .field("vmpl", &self.vmpl)
            .field("reported_tcb", &hex::encode(self.reported_tcb))
            .field("chip_id", &hex::encode(self.chip_id))
            .field("report_data", &hex::encode(self.report_data))
            .finish_non_exhaustive()
    }
}
