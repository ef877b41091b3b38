//! Why there is no collateral.

use std::fmt;
use std::time::Duration;

use marblerun_attestation::{Refused, UnixSeconds};

/// Whose service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceName {
    /// A provisioning certificate caching service, or Intel's own provisioning certification service.
    Pccs,
    /// AMD's key distribution service, or a cache of it.
    Kds,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pccs => "PCCS",
            Self::Kds => "KDS",
        })
    }
}

/// One document of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Document {
    /// Revocation list of the Intel SGX root.
    RootCrl,
    /// Revocation list of a PCK CA.
    PckCrl,
    /// TCB information of an FMSPC.
    TcbInfo,
    /// Identity of the quoting enclave.
    QeIdentity,
    /// Certificates of ASK or ASVK, and ARK.
    AmdChain,
    /// Revocation list of an ARK.
    AmdCrl,
    /// Certificate of a chip's endorsement key.
    Vcek,
}

impl fmt::Display for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RootCrl => "CRL of the Intel SGX root",
            Self::PckCrl => "CRL of the PCK CA",
            Self::TcbInfo => "TCB information",
            Self::QeIdentity => "QE identity",
            Self::AmdChain => "certificate chain of the product line",
            Self::AmdCrl => "CRL of the ARK",
            Self::Vcek => "VCEK certificate",
        })
    }
}

/// Why there is no collateral. For logs: it tells of services and caches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollateralError {
    /// No connection.
    #[error("{service} cannot be reached at {address}: {why}")]
    Unreachable {
        /// Which service.
        service: ServiceName,
        /// Host and port.
        address: String,
        /// What the system says.
        why: String,
    },
    /// A connection without the TLS asked for.
    #[error("{service} at {address}: TLS failed: {why}")]
    Tls {
        /// Which service.
        service: ServiceName,
        /// Host and port.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// No whole answer in time.
    #[error("{service}: no answer within {} s when asked for the {document}", after.as_secs())]
    TimedOut {
        /// Which service.
        service: ServiceName,
        /// Which document.
        document: Document,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("{service}: connection broken when asked for the {document}: {why}")]
    Broken {
        /// Which service.
        service: ServiceName,
        /// Which document.
        document: Document,
        /// What is wrong.
        why: String,
    },
    /// The service has no such document: it does not know the platform.
    #[error("{service} has no {document} for this platform")]
    NotKnown {
        /// Which service.
        service: ServiceName,
        /// Which document.
        document: Document,
    },
    /// The service sends elsewhere. No redirect is followed: trust and privacy were settled for the address configured.
    #[error("{service}: redirects when asked for the {document} (status {status}), which is not followed")]
    Redirect {
        /// Which service.
        service: ServiceName,
        /// Which document.
        document: Document,
        /// The HTTP status.
        status: u16,
    },
    /// Another status than 200.
    #[error("{service}: status {status} when asked for the {document}")]
    Status {
        /// Which service.
        service: ServiceName,
        /// Which document.
        document: Document,
        /// The HTTP status.
        status: u16,
    },
    /// A body beyond the limit.
    #[error("{service}: the {document} is larger than {limit} bytes")]
    TooLarge {
        /// Which service.
        service: ServiceName,
        /// Which document.
        document: Document,
        /// The limit in bytes.
        limit: usize,
    },
    /// An answer without a readable issuer chain in its header.
    #[error("{service}: the {document} has no usable issuer chain in the header {header}: {why}")]
    IssuerChain {
        /// Which service.
        service: ServiceName,
        /// Which document.
        document: Document,
        /// Name of the header.
        header: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A document that cannot be read.
    #[error("{service}: the {document} cannot be read: {why}")]
    Malformed {
        /// Which service.
        service: ServiceName,
        /// Which document.
        document: Document,
        /// What is wrong, and where.
        why: String,
    },
    /// Collateral that can be read and not be used: signed by others, for another platform, revoked.
    #[error("collateral from {origin} is refused: {refused}")]
    Refused {
        /// Where it is from.
        origin: &'static str,
        /// The step and the reason.
        refused: Box<Refused>,
    },
    /// Collateral whose `nextUpdate` is over already.
    #[error("collateral from {origin} is out of date since {since}")]
    OutOfDate {
        /// Where it is from.
        origin: &'static str,
        /// `nextUpdate`.
        since: UnixSeconds,
    },
    /// What the directory has is out of date beyond use, and no newer one was to be had.
    #[error(
        "collateral in the directory is out of date since {since}, and a newer one was not to be had: {error}"
    )]
    DirectoryOutOfDate {
        /// `nextUpdate`.
        since: UnixSeconds,
        /// Why not.
        error: Box<Self>,
    },
    /// The directory has nothing that can be used, and neither had the service, or there is none.
    #[error("the directory of collateral {directory}; {error}")]
    Nowhere {
        /// What is wrong with the directory: what it lacks, or which file was passed over and why.
        directory: String,
        /// Why the service had nothing.
        error: Box<Self>,
    },
    /// There is nobody to ask but the directory.
    #[error("no collateral service is configured")]
    NoService,
    /// Collateral older than what is held.
    #[error("collateral from {origin} ends at {found}, before what is held, which ends at {held}")]
    Older {
        /// Where it is from.
        origin: &'static str,
        /// `nextUpdate` of what came.
        found: UnixSeconds,
        /// `nextUpdate` of what is held.
        held: UnixSeconds,
    },
    /// No service is configured, and the directory has nothing for this platform.
    #[error("no collateral service is configured, and the directory has no {what}")]
    NotInDirectory {
        /// What is missing.
        what: String,
    },
    /// The directory cannot be read.
    #[error("the directory of collateral cannot be read: {why}")]
    Directory {
        /// What the system says.
        why: String,
    },
    /// A VLEK certificate, which AMD gives to cloud providers only: it comes with the report or stands in the directory.
    #[error("a VLEK certificate cannot be fetched: expected it behind the report, found none")]
    VlekNotPublished,
    /// A report whose host masks the chip's id and sends no certificate.
    #[error("the report does not name its chip, and no VCEK certificate stands behind it")]
    MaskedChip,
    /// A report that does not say which product line it is of, with nothing to find out by.
    #[error("the product line of the platform is not known")]
    UnknownProduct,
    /// A TCB that the product line cannot have.
    #[error("the reported TCB is malformed: {why}")]
    ReportedTcb {
        /// What is wrong.
        why: String,
    },
    /// Too many platforms that were not seen before, asked for by strangers.
    #[error("collateral of more new platforms was asked for than one a second")]
    TooManyNewPlatforms,
    /// Too many documents are being fetched.
    #[error("too much collateral is being fetched already")]
    Busy,
    /// The fetch ended without an outcome: the program is ending.
    #[error("the fetch of collateral was interrupted")]
    Interrupted,
    /// The software TEE made none.
    #[error("the software TEE makes no such collateral: {why}")]
    SoftwareTee {
        /// What is wrong.
        why: String,
    },
}

impl CollateralError {
    /// Whether the reason lies in the evidence itself. Only then may strangers be told; of services, caches and the
    /// directory they learn nothing (spec/08).
    pub fn is_about_evidence(&self) -> bool {
        matches!(
            self,
            Self::MaskedChip | Self::UnknownProduct | Self::ReportedTcb { .. } | Self::VlekNotPublished
        )
    }

    /// A word for metrics; there is one for each variant, and where the directory's cannot be used that of the other reason.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::TimedOut { .. } => "timed_out",
            Self::Broken { .. } => "broken",
            Self::NotKnown { .. } => "not_known",
            Self::Redirect { .. } => "redirect",
            Self::Status { .. } => "status",
            Self::TooLarge { .. } => "too_large",
            Self::IssuerChain { .. } => "issuer_chain",
            Self::Malformed { .. } => "malformed",
            Self::Refused { .. } => "refused",
            Self::OutOfDate { .. } => "out_of_date",
            Self::DirectoryOutOfDate { error, .. } | Self::Nowhere { error, .. } => error.kind(),
            Self::Older { .. } => "older",
            Self::NotInDirectory { .. } | Self::NoService => "not_in_directory",
            Self::Directory { .. } => "directory",
            Self::VlekNotPublished => "vlek_not_published",
            Self::MaskedChip => "masked_chip",
            Self::UnknownProduct => "unknown_product",
            Self::ReportedTcb { .. } => "reported_tcb",
            Self::TooManyNewPlatforms => "too_many_new_platforms",
            Self::Busy => "busy",
            Self::Interrupted => "interrupted",
            Self::SoftwareTee { .. } => "software_tee",
        }
    }
}
