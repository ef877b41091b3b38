//! Why evidence is refused: the step that failed, and exactly one reason with what was found and what was expected.
//!
//! All of it may be told to the caller: the evidence is his own, and collateral is public.

mod names;

pub use self::names::{CertificateRole, Dated, ListName, Step};
use crate::binding::ReportBinding;
use crate::moment::UnixSeconds;
use crate::quote::{EvidenceKind, UnrecognisedEvidence};
use crate::tcb::TcbStatus;

/// Evidence that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {}, {step}: {reason}", step.number())]
pub struct Refused {
    /// The step of verification, see [`crate::verify`].
    pub step: Step,
    /// What is wrong.
    pub reason: Box<Reason>,
}

impl Refused {
    /// Whether the reason lies in the collateral, not in the evidence: out of date, not signed, for something else. It
    /// is the business of who obtained it. A certificate of the platform that was revoked is the evidence's own; that
    /// of a signer of collateral is not.
    pub fn is_about_collateral(&self) -> bool {
        match self.step {
            Step::Collateral => !matches!(
                *self.reason,
                Reason::Revoked { certificate, .. } if !certificate.signs_collateral()
            ),
            Step::SecondOpinion => true,
            _ => matches!(
                *self.reason,
                Reason::AnotherCollateral { .. }
                    | Reason::CollateralKind { .. }
                    | Reason::AnotherAuthority { .. }
                    | Reason::Fmspc { .. }
                    | Reason::PceId { .. }
            ),
        }
    }
}

impl Step {
    pub(crate) fn refuse(self, reason: Reason) -> Refused {
        Refused {
            step: self,
            reason: Box::new(reason),
        }
    }
}

/// Why evidence is refused. Numbers, names and hex as in the formats themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message of the variant names")]
pub enum Reason {
    // Format and fields
    /// No evidence at all.
    #[error("expected evidence, found none")]
    NoEvidence,
    /// No known format.
    #[error(transparent)]
    Unrecognised(#[from] UnrecognisedEvidence),
    /// A length field that does not fit what follows it.
    #[error("{part}: expected {expected} bytes, found {found}")]
    Length {
        part: &'static str,
        expected: u64,
        found: u64,
    },
    /// Bytes behind the evidence that do not belong to it.
    #[error("expected nothing behind the {evidence}, found {found} bytes that are not zero")]
    TrailingBytes { evidence: EvidenceKind, found: usize },
    /// A quote signed with another kind of key.
    #[error("attestation key type: expected 2 (ECDSA with P-256), found {found}")]
    AttestationKeyType { found: u16 },
    /// A quoting enclave of another vendor.
    #[error("QE vendor: expected {expected}, found {found}")]
    QeVendor { found: String, expected: String },
    /// A quote without its PCK certificate chain.
    #[error("certification data of the quote: expected type {expected}, found {found}")]
    CertificationData { found: u16, expected: u16 },
    /// Bytes that the format reserves.
    #[error("{field}: expected zero, found {found}")]
    Reserved { field: &'static str, found: String },
    /// A report signed by neither VCEK nor VLEK.
    #[error("signing key of the report: expected 0 (VCEK) or 1 (VLEK), found {found}")]
    SigningKey { found: u8 },
    /// A processor of no known product line.
    #[error("product: expected Milan, Genoa or Turin, found {found}")]
    UnknownProduct { found: String },
    /// A certificate table that contradicts itself.
    #[error("certificate table behind the report: {why}")]
    CertificateTable { why: String },
    /// Bytes behind a report that no entry of the certificate table names. What pads pages is zero.
    #[error(
        "certificate table behind the report: expected zero wherever no entry says there is a certificate, found \
         {found} other bytes, the first at {at}"
    )]
    BytesInNoCertificate { found: usize, at: usize },

    // Certificates
    /// Not a certificate, or one that cannot be used.
    #[error("{certificate}: malformed: {why}")]
    CertificateMalformed {
        certificate: CertificateRole,
        why: String,
    },
    /// Another number of certificates than a chain has.
    #[error("{chain}: expected {expected} certificates, found {found}")]
    ChainLength {
        chain: &'static str,
        expected: &'static str,
        found: usize,
    },
    /// Nobody gave the certificate.
    #[error("{certificate}: expected it in the collateral or behind the report, found none")]
    CertificateMissing { certificate: CertificateRole },
    /// A chain that ends elsewhere than in the pinned root.
    #[error("{certificate}: expected the pinned root {expected}, found {found}")]
    AnotherRoot {
        certificate: CertificateRole,
        found: String,
        expected: String,
    },
    /// No pinned root for a product line.
    #[error("{certificate}: expected a root for {product}, found none")]
    NoRoot {
        certificate: CertificateRole,
        product: &'static str,
    },
    /// A certificate of another issuer.
    #[error("{certificate}: expected issuer {expected}, found {found}")]
    AnotherIssuer {
        certificate: CertificateRole,
        found: String,
        expected: String,
    },
    /// A certificate for another purpose.
    #[error("{certificate}: expected common name {expected}, found {found}")]
    AnotherSubject {
        certificate: CertificateRole,
        found: String,
        expected: &'static str,
    },
    /// A certificate that is not entitled to issue others.
    #[error("{certificate}: expected a certificate authority, found none")]
    NotAnAuthority { certificate: CertificateRole },
    /// A certificate authority where its subject has no business being one.
    #[error("{certificate}: expected no certificate authority, found one")]
    UnexpectedAuthority { certificate: CertificateRole },
    /// Signed with another algorithm than its issuer's key is for.
    #[error("{certificate}: expected signature algorithm {expected}, found {found}")]
    CertificateAlgorithm {
        certificate: CertificateRole,
        found: String,
        expected: String,
    },
    /// Not signed by its issuer.
    #[error("{certificate}: expected a signature by the key of the {issuer}, found another")]
    CertificateSignature {
        certificate: CertificateRole,
        issuer: CertificateRole,
    },
    /// Another kind of key than the format prescribes.
    #[error("{certificate}: expected a key of kind {expected}, found {found}")]
    CertificateKey {
        certificate: CertificateRole,
        found: &'static str,
        expected: &'static str,
    },
    /// A critical extension that this program does not know.
    #[error("{certificate}: expected no unknown critical extension, found {extension}")]
    CriticalExtension {
        certificate: CertificateRole,
        extension: String,
    },
    /// An extension of the manufacturer that is missing or malformed.
    #[error("{certificate}: {extension}: {why}")]
    CertificateExtension {
        certificate: CertificateRole,
        extension: &'static str,
        why: String,
    },

    // Time and revocation
    /// Valid only later.
    #[error("{dated}: expected to be valid, found not valid before {from} (verified as of {now})")]
    NotYetValid {
        dated: Dated,
        from: UnixSeconds,
        now: UnixSeconds,
    },
    /// No longer valid.
    #[error("{dated}: expected to be valid, found expired at {until} (verified as of {now})")]
    Expired {
        dated: Dated,
        until: UnixSeconds,
        now: UnixSeconds,
    },
    /// A certificate that its issuer revoked.
    #[error("{certificate}: expected not to be revoked, found serial number {serial} in the {list}")]
    Revoked {
        certificate: CertificateRole,
        serial: String,
        list: ListName,
    },
    /// Not a revocation list, or one that cannot be used.
    #[error("{list}: malformed: {why}")]
    ListMalformed { list: ListName, why: String },
    /// A list of another issuer.
    #[error("{list}: expected issuer {expected}, found {found}")]
    ListIssuer {
        list: ListName,
        found: String,
        expected: String,
    },
    /// Signed with another algorithm than its issuer's key is for.
    #[error("{list}: expected signature algorithm {expected}, found {found}")]
    ListAlgorithm {
        list: ListName,
        found: String,
        expected: String,
    },
    /// Not signed by its issuer.
    #[error("{list}: expected a signature by the key of the {issuer}, found another")]
    ListSignature { list: ListName, issuer: CertificateRole },

    // Signatures and binding
    /// The quoting enclave's report is not signed by the platform.
    #[error("report of the quoting enclave: expected a signature by the PCK, found another")]
    QeReportSignature,
    /// The attestation key is not the quoting enclave's.
    #[error(
        "attestation key: expected the one the quoting enclave reports, with hash {expected}, found {found}"
    )]
    AttestationKey { found: String, expected: String },
    /// The quote is not signed by the attestation key.
    #[error("quote: expected a signature by the attestation key, found another")]
    QuoteSignature,
    /// The report is not signed by the endorsement key.
    #[error("report: expected a signature by the {signer}, found another")]
    ReportSignature { signer: CertificateRole },
    /// Evidence for something else, or replayed.
    #[error("report data: expected {expected}, found {found}")]
    Binding { found: String, expected: ReportBinding },

    // Collateral of SGX and TDX
    /// Collateral for evidence of another manufacturer.
    #[error("collateral: expected {expected}, found that of {found}")]
    AnotherCollateral {
        found: &'static str,
        expected: &'static str,
    },
    /// TCB information that is not signed by its signer.
    #[error("{signed}: expected a signature by the key of the {signer}, found another")]
    CollateralSignature { signed: Dated, signer: CertificateRole },
    /// Collateral for another TEE or of another version.
    #[error("{what}: expected {expected}, found {found}")]
    CollateralKind {
        what: Dated,
        found: String,
        expected: &'static str,
    },
    /// Collateral of another platform family.
    #[error("FMSPC: expected {expected} of the PCK certificate, found {found} in the TCB information")]
    Fmspc { found: String, expected: String },
    /// Collateral of another provisioning enclave.
    #[error("PCE-ID: expected {expected} of the PCK certificate, found {found} in the TCB information")]
    PceId { found: String, expected: String },
    /// A revocation list of the other CA of PCK certificates.
    #[error("PCK CRL: expected that of the {expected} CA, found that of {found}")]
    AnotherAuthority { found: String, expected: &'static str },
    /// A quoting enclave that is not the one of the QE identity.
    #[error("quoting enclave, {field}: expected {expected}, found {found}")]
    QuotingEnclave {
        field: &'static str,
        found: String,
        expected: String,
    },
    /// A quoting enclave older than all that are rated.
    #[error("quoting enclave: expected a security version of at least {lowest}, found {found}")]
    QuotingEnclaveTooOld { found: u16, lowest: u16 },
    /// A platform older than all that are rated.
    #[error(
        "platform: expected one that meets a TCB level, found SGX components {sgx}, PCE {pce}, TDX components {tdx}"
    )]
    NoTcbLevel { sgx: String, pce: u16, tdx: String },

    // TDX module and trust domain
    /// TCB information without identity of the module.
    #[error("TDX module: expected an identity for version {version} in the TCB information, found none")]
    NoModuleIdentity { version: u8 },
    /// A module of another signer, or with other attributes.
    #[error("TDX module, {field}: expected {expected}, found {found}")]
    Module {
        field: &'static str,
        found: String,
        expected: String,
    },
    /// A module older than all that are rated.
    #[error("TDX module: expected a security version of at least {lowest}, found {found}")]
    ModuleTooOld { found: u8, lowest: u8 },
    /// Attributes that TDX reserves.
    #[error("TD attributes: expected reserved bits to be zero, found {found}")]
    TdReserved { found: String },
    /// A trust domain that its host can move.
    #[error("TD attributes: expected MIGRATABLE to be off, found it on in {found}")]
    TdMigratable { found: String },
    /// A trust domain whose pages its host can withdraw unnoticed.
    #[error("TD attributes: expected SEPT_VE_DISABLE to be on, found it off in {found}")]
    TdSeptVe { found: String },
    /// A trust domain to which another is bound.
    #[error("service TD: expected none to be bound, found {found}")]
    TdService { found: String },

    // SEV-SNP platform and guest
    /// An endorsement key of another chip.
    #[error("chip id: expected {expected} of the VCEK certificate, found {found} in the report")]
    ChipId { found: String, expected: String },
    /// An endorsement key of another firmware version.
    #[error(
        "reported TCB, {component}: expected {expected} of the {certificate}, found {found} in the report"
    )]
    EndorsedTcb {
        component: &'static str,
        found: u8,
        expected: u8,
        certificate: CertificateRole,
    },
    /// An endorsement key of another product line.
    #[error("product: expected {expected} of the report, found {found} in the {certificate}")]
    AnotherProduct {
        found: String,
        expected: &'static str,
        certificate: CertificateRole,
    },
    /// A privilege level that does not exist.
    #[error("VMPL: expected 0 to 3, found {found}")]
    Vmpl { found: u32 },
    /// A policy that no guest can have.
    #[error("guest policy: expected bit 17 to be one and bits 26 to 63 to be zero, found {found}")]
    Policy { found: String },

    // Second opinion
    /// The second implementation refuses what this one accepts.
    #[error("expected the second verifier to agree, found that it refuses: {why}")]
    SecondOpinion { why: String },
    /// The second implementation rates the platform differently.
    #[error("expected the second verifier to rate the platform {expected} as well, found {found}")]
    SecondRating { found: String, expected: TcbStatus },
}
