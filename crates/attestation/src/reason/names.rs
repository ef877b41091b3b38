//! Names that refusals use: steps, certificates, revocation lists, and what has a period of validity.

use std::fmt;

/// The steps of verification, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// 1: what format the evidence has.
    Format,
    /// 2: fields with fixed values, lengths.
    Fields,
    /// 3: the certificates of the platform end in the pinned root.
    Chain,
    /// 4: the evidence is signed under these certificates.
    Signature,
    /// 5: the evidence speaks for what it is presented for.
    Binding,
    /// 6: collateral is signed, in force, and revokes nothing.
    Collateral,
    /// 7: collateral and certificates are those of this platform.
    Platform,
    /// 8: the quoting enclave is Intel's (SGX, TDX).
    QuotingEnclave,
    /// 9: module and attributes of a trust domain (TDX), policy of a guest (SEV-SNP).
    Guest,
    /// 10: the platform is rated (SGX, TDX).
    Rating,
    /// 11: a second implementation agrees (SGX, TDX; first sight of platform and collateral).
    SecondOpinion,
}

impl Step {
    /// Number of the step, from 1.
    pub fn number(self) -> u8 {
        match self {
            Self::Format => 1,
            Self::Fields => 2,
            Self::Chain => 3,
            Self::Signature => 4,
            Self::Binding => 5,
            Self::Collateral => 6,
            Self::Platform => 7,
            Self::QuotingEnclave => 8,
            Self::Guest => 9,
            Self::Rating => 10,
            Self::SecondOpinion => 11,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Format => "format",
            Self::Fields => "fields",
            Self::Chain => "certificates of the platform",
            Self::Signature => "signature",
            Self::Binding => "binding",
            Self::Collateral => "collateral",
            Self::Platform => "platform",
            Self::QuotingEnclave => "quoting enclave",
            Self::Guest => "guest",
            Self::Rating => "rating of the platform",
            Self::SecondOpinion => "second opinion",
        })
    }
}

/// A certificate, by its place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateRole {
    /// Root of SGX and TDX.
    IntelSgxRoot,
    /// Issuer of PCK certificates: the Processor CA or the Platform CA.
    PckCa,
    /// Provisioning certification key of a platform.
    Pck,
    /// Issuer of the PCK revocation list, as the collateral has it.
    PckListIssuer,
    /// Signer of TCB information.
    TcbInfoSigner,
    /// Signer of the identity of the quoting enclave.
    QeIdentitySigner,
    /// AMD root key of a product line.
    Ark,
    /// AMD SEV key: issuer of VCEK certificates.
    Ask,
    /// AMD SEV VLEK key: issuer of VLEK certificates.
    Asvk,
    /// Versioned chip endorsement key.
    Vcek,
    /// Versioned loaded endorsement key.
    Vlek,
}

impl CertificateRole {
    /// Whether it speaks about platforms, and no platform's certificate hangs on it.
    pub(super) fn signs_collateral(self) -> bool {
        matches!(self, Self::TcbInfoSigner | Self::QeIdentitySigner)
    }
}

impl fmt::Display for CertificateRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::IntelSgxRoot => "Intel SGX root certificate",
            Self::PckCa => "PCK CA certificate",
            Self::Pck => "PCK certificate",
            Self::PckListIssuer => "certificate of the PCK CRL issuer",
            Self::TcbInfoSigner => "TCB information signing certificate",
            Self::QeIdentitySigner => "QE identity signing certificate",
            Self::Ark => "ARK certificate",
            Self::Ask => "ASK certificate",
            Self::Asvk => "ASVK certificate",
            Self::Vcek => "VCEK certificate",
            Self::Vlek => "VLEK certificate",
        })
    }
}

/// A revocation list, by its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListName {
    /// Of the Intel SGX root.
    IntelSgxRoot,
    /// Of the PCK CA.
    Pck,
    /// Of the ARK.
    Amd,
}

impl fmt::Display for ListName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::IntelSgxRoot => "CRL of the Intel SGX root",
            Self::Pck => "CRL of the PCK CA",
            Self::Amd => "CRL of the ARK",
        })
    }
}

/// Something with a period of validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dated {
    /// A certificate.
    Certificate(CertificateRole),
    /// A revocation list.
    List(ListName),
    /// TCB information: `issueDate` to `nextUpdate`.
    TcbInfo,
    /// Identity of the quoting enclave: `issueDate` to `nextUpdate`.
    QeIdentity,
}

impl fmt::Display for Dated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(certificate) => certificate.fmt(formatter),
            Self::List(list) => list.fmt(formatter),
            Self::TcbInfo => formatter.write_str("TCB information"),
            Self::QeIdentity => formatter.write_str("QE identity"),
        }
    }
}
