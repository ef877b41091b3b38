//! A checked manifest. Only [`super::check`] makes one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marblerun_attestation::claims::SnpProduct;
pub use marblerun_attestation::policy::SnpMinimumTcb;

use super::template_index::TemplateIndex;
use crate::access::UserIndex;
use crate::secret::spec::SecretSpec;
use crate::template::{References, Template};

/// A name chosen by the author of the manifest: a map key. Case-sensitive, 1 to 253 bytes (paths of files: up
/// to 4096), no NUL or control characters.
pub type Name = Arc<str>;

/// A manifest that keeps every rule of `spec/01` and `spec/02`, with its templates compiled.
pub struct Manifest {
    /// The bytes exactly as received: fingerprint and signature are over these.
    pub raw: Arc<[u8]>,
    /// SHA-256 of `raw`.
    pub fingerprint: [u8; 32],
    /// `Packages`; at least one.
    pub packages: BTreeMap<Name, Package>,
    /// `Infrastructures`; empty: any platform.
    pub infrastructures: BTreeMap<Name, Infrastructure>,
    /// `Marbles`; at least one.
    pub marbles: BTreeMap<Name, Marble>,
    /// `Secrets`
    pub secrets: BTreeMap<Name, SecretSpec>,
    /// Where the marbles' templates refer to user-defined secrets.
    pub template_index: TemplateIndex,
    /// `Users`
    pub users: BTreeMap<Name, User>,
    /// The users again, by certificate.
    pub user_index: UserIndex,
    /// `Roles`
    pub roles: BTreeMap<Name, Role>,
    /// `RecoveryKeys`
    pub recovery_keys: BTreeMap<Name, RecoveryKey>,
    /// `TLS`
    pub tls: BTreeMap<Name, TlsTag>,
    /// `Config`
    pub config: Config,
}

/// One entry of `Packages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The SGX rules; `None` when the package names claims of other TEEs only.
    pub sgx: Option<SgxPackage>,
    /// `TDX`; `None`: TDX evidence never matches.
    pub tdx: Option<Box<TdxPackage>>,
    /// `SNP`; `None`: SEV-SNP evidence never matches.
    pub snp: Option<Box<SnpPackage>>,
    /// `Debug`: of every TEE, unless its own object says true.
    pub debug: bool,
    /// `AcceptedTCBStatuses`, exact spelling.
    pub accepted_tcb_statuses: Vec<String>,
    /// `AcceptedAdvisories`; compared ignoring case.
    pub accepted_advisories: Vec<String>,
}

/// The SGX identity a package asks for. Ids are kept as written; one that is not 64 hex digits matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SgxPackage {
    /// `UniqueID` (MRENCLAVE).
    pub unique_id: Option<String>,
    /// `SignerID` (MRSIGNER).
    pub signer_id: Option<String>,
    /// `ProductID`; 0 is a value.
    pub product_id: Option<u64>,
    /// `SecurityVersion`, the minimum; 0 is a value.
    pub security_version: Option<u64>,
}

/// The names of [`TdxPackage::rtmr`].
pub const RTMR_FIELDS: [&str; 4] = ["RTMR0", "RTMR1", "RTMR2", "RTMR3"];

/// The TDX claims a package asks for. What is not given is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TdxPackage {
    /// `MRTD`: what the trust domain was started from. Given, unless the package is for debug.
    pub mrtd: Option<[u8; 48]>,
    /// `RTMR0` to `RTMR3`: what was measured since. The first three are given, unless the package is for debug.
    pub rtmr: [Option<[u8; 48]>; 4],
    /// `MRSEAM`: the TDX module.
    pub mr_seam: Option<[u8; 48]>,
    /// `MRCONFIGID`
    pub mr_config_id: Option<[u8; 48]>,
    /// `MROWNER`
    pub mr_owner: Option<[u8; 48]>,
    /// `MROWNERCONFIG`
    pub mr_owner_config: Option<[u8; 48]>,
    /// `Debug`; `None`: that of the package counts.
    pub debug: Option<bool>,
    /// `AcceptedTCBStatuses`; empty: those of the package count.
    pub accepted_tcb_statuses: Vec<String>,
    /// `AcceptedAdvisories`, compared ignoring case; empty: those of the package count.
    pub accepted_advisories: Vec<String>,
}

/// The SEV-SNP claims a package asks for. What is not given is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnpPackage {
    /// `Measurement`: what the guest was launched from. Given, unless the package is for debug.
    pub measurement: Option<[u8; 48]>,
    /// `HostData`
    pub host_data: Option<[u8; 32]>,
    /// `IDKeyDigest`
    pub id_key_digest: Option<[u8; 48]>,
    /// `AuthorKeyDigest`
    pub author_key_digest: Option<[u8; 48]>,
    /// `Product`; empty: any.
    pub products: Vec<SnpProduct>,
    /// `MinimumTCB`
    pub minimum_tcb: Option<SnpMinimumTcb>,
    /// `VMPL`, 0 to 3: the privilege level the report was asked from.
    pub vmpl: u8,
    /// `Debug`; `None`: that of the package counts.
    pub debug: Option<bool>,
}

/// One entry of `Infrastructures`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Infrastructure {
    /// `CPUSVN`, 16 bytes.
    pub cpu_svn: Option<Vec<u8>>,
    /// `QESVN`, the minimum.
    pub qe_svn: Option<u16>,
    /// `PCESVN`, the minimum.
    pub pce_svn: Option<u16>,
    /// `RootCA`, meant as DER.
    pub root_ca: Option<Vec<u8>>,
}

/// One entry of `Marbles`: a marble type.
pub struct Marble {
    /// `Package`; exists.
    pub package: Name,
    /// `MaxActivations`; 0: no limit.
    pub max_activations: u64,
    /// `Parameters.Files`: path to content.
    pub files: BTreeMap<Name, Content>,
    /// `Parameters.Env`: variable to content.
    pub env: BTreeMap<Name, Content>,
    /// `Parameters.Argv`, the first is `argv[0]`; empty when absent.
    pub argv: Vec<String>,
    /// `Roles`; each exists.
    pub roles: Vec<Name>,
    /// `TLS`: tags in the order given; each exists.
    pub tls: Vec<Name>,
    /// `DisableSecretBinding`
    pub disable_secret_binding: bool,
    /// All that the templates of this marble and the `Cert` entries of its TLS tags refer to. Marbles made of the
    /// same templates share it.
    pub references: Arc<References>,
}

/// What a file or an environment variable is made of.
#[derive(Clone)]
pub enum Content {
    /// Passed through untouched.
    Verbatim(Arc<[u8]>),
    /// Rendered at each activation.
    Template(Arc<Template>),
}

/// One entry of `Users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The certificate, DER, as it must be presented.
    pub certificate: Arc<[u8]>,
    /// `Roles`; each exists.
    pub roles: Vec<Name>,
}

/// One entry of `Roles`: what it permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// On packages.
    Packages {
        /// Packages on which `UpdateSecurityVersion` is permitted; empty when the action is not listed.
        update_security_version: BTreeSet<Name>,
    },
    /// On secrets.
    Secrets {
        /// Secrets on which `ReadSecret` is permitted.
        read: BTreeSet<Name>,
        /// Secrets on which `WriteSecret` is permitted.
        write: BTreeSet<Name>,
    },
    /// On the manifest.
    Manifest {
        /// Whether `UpdateManifest` is permitted.
        update: bool,
    },
}

/// One entry of `RecoveryKeys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryKey {
    /// The PEM text as written: a changed text is a changed key.
    pub pem: Arc<str>,
    /// The key, PKIX `SubjectPublicKeyInfo` DER, RSA.
    pub public_key_pkix: Arc<[u8]>,
}

/// One entry of `TLS`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsTag {
    /// `Outgoing`
    pub outgoing: Vec<TlsOutgoing>,
    /// `Incoming`
    pub incoming: Vec<TlsIncoming>,
}

/// A connection the marble opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOutgoing {
    /// `Port`, not empty.
    pub port: String,
    /// `Addr`, not empty.
    pub address: String,
}

/// A port the marble listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIncoming {
    /// `Port`, not empty.
    pub port: String,
    /// `Cert`: the certificate secret to present instead of the marble certificate.
    pub certificate: Option<Name>,
    /// `DisableClientAuth`
    pub disable_client_auth: bool,
}

/// `Config`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `SealMode`
    pub seal_mode: SealMode,
    /// `UpdateThreshold`; 0: all who may.
    pub update_threshold: usize,
    /// `RecoveryThreshold`; 0: all keys.
    pub recovery_threshold: usize,
    /// `FeatureGates`
    pub feature_gates: BTreeSet<FeatureGate>,
    /// `RotateRootSecret`
    pub rotate_root_secret: bool,
}

/// Which enclave key wraps the data encryption key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SealMode {
    /// Bound to signer and product.
    #[default]
    ProductKey,
    /// Bound to the exact measurement.
    UniqueKey,
    /// State is kept in memory only.
    Disabled,
}

/// Opt-in features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FeatureGate {
    /// `SignQuoteEndpoint`
    SignQuoteEndpoint,
    /// `MonotonicCounter`
    MonotonicCounter,
    /// `AzureHSMSealing`
    AzureHsmSealing,
}

impl FeatureGate {
    /// The name as the manifest writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignQuoteEndpoint => "SignQuoteEndpoint",
            Self::MonotonicCounter => "MonotonicCounter",
            Self::AzureHsmSealing => "AzureHSMSealing",
        }
    }
}
