//! What there is to choose. Where it is written (flags, variables, files) is the business of the programs.

use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::url::ServiceUrl;

/// Everything there is to choose.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where collateral comes from, beside the directory.
    pub source: Source,
    /// Directory of collateral files, looked at before any service is asked. See `docs/collateral.md`.
    pub directory: Option<PathBuf>,
    /// For how long collateral may be used after its `nextUpdate`, when no newer one is to be had. Default: not at all.
    pub grace: Duration,
    /// Whether SEV-SNP evidence needs the revocation list of the ARK. Default: yes. Without it claims say that
    /// revocation was not checked.
    pub snp_revocation: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// With defaults for everything else.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            directory: None,
            grace: Duration::ZERO,
            snp_revocation: true,
            limits: Limits::default(),
        }
    }
}

/// Where collateral comes from, beside the directory.
#[derive(Debug, Clone)]
pub enum Source {
    /// From services over the network.
    Services(Box<Services>),
    /// From nowhere: the directory is all there is.
    Nothing,
    /// From the software TEE whose keys everybody knows, without a network. Under the roots of the manufacturers all of
    /// it is refused.
    #[cfg(feature = "software-tee")]
    SoftwareTee,
}

/// Services, and whom to trust as such. Collateral is signed: this protects privacy (who asks for which platform) and
/// availability, not the truth of what is fetched.
#[derive(Debug, Clone)]
pub struct Services {
    /// Intel PCS or a PCCS: what stands before `/sgx/certification/v4`.
    pub pccs: ServiceUrl,
    /// Where the revocation list of the Intel SGX root is. `None`: for Intel's own service its distribution point, else
    /// `/sgx/certification/v4/rootcacrl` of the PCCS.
    pub root_crl: Option<ServiceUrl>,
    /// AMD KDS or a cache of it: what stands before `/vcek/v1`.
    pub kds: ServiceUrl,
    /// Whose certificates are accepted for `https`.
    pub trust: Trust,
    /// Allows `http` to other hosts than this one. Whoever is in between learns which platforms are asked for and can
    /// withhold collateral.
    pub insecure_http: bool,
}

impl Services {
    /// The services of the manufacturers.
    pub const INTEL_PCS: &'static str = "https://api.trustedservices.intel.com";
    /// The distribution point of Intel's root.
    pub const INTEL_ROOT_CRL: &'static str =
        "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";
    /// AMD's key distribution service.
    pub const AMD_KDS: &'static str = "https://kdsintf.amd.com";
}

impl Default for Services {
    /// Those of the manufacturers, under the public roots.
    fn default() -> Self {
        Self {
            pccs: ServiceUrl::known(Self::INTEL_PCS),
            root_crl: None,
            kds: ServiceUrl::known(Self::AMD_KDS),
            trust: Trust::PublicRoots,
            insecure_http: false,
        }
    }
}

/// Whose certificates are accepted for `https`. The machine's own store of certificates is never looked at: in an
/// enclave it belongs to the adversary.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Mozilla's list of public roots, as it was when this program was built.
    PublicRoots,
    /// These certificates alone: CAs, DER.
    Only(Vec<CertificateDer<'static>>),
}

impl Trust {
    /// Certificates of CAs, PEM, one or more.
    ///
    /// # Errors
    /// It is no PEM, or there is no certificate in it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, StartError> {
        let failed = |why: String| StartError::Trust { why };
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(format!("expected PEM certificates: {error}")))?;
        if certificates.is_empty() {
            return Err(failed("expected PEM certificates, found none".to_owned()));
        }
        Ok(Self::Only(certificates))
    }
}

/// Bounds; the defaults are good.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Pieces of collateral kept: one for each platform of Intel, and one for each chip and product line of AMD.
    pub entries: usize,
    /// Failures remembered.
    pub failures: usize,
    /// Fetches at the same time.
    pub fetches: usize,
    /// How long a failure is remembered before the service is asked again.
    pub retry_after: Duration,
    /// Collateral is fetched anew after this time, or at 80 % of its life if that is sooner: revocations and new TCB
    /// information are published long before `nextUpdate`.
    pub refresh_after: Duration,
    /// How long one document may take, from connecting to its last byte.
    pub timeout: Duration,
    /// Largest document, in bytes.
    pub document: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 256,
            failures: 256,
            fetches: 16,
            retry_after: Duration::from_secs(30),
            refresh_after: Duration::from_secs(24 * 60 * 60),
            timeout: Duration::from_secs(10),
            document: 1024 * 1024,
        }
    }
}

/// Why collateral cannot be provided at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `http` to another host.
    #[error("{url}: expected https, found http to another host than this one")]
    InsecureUrl {
        /// The address.
        url: String,
    },
    /// The certificates cannot be used.
    #[error("certificates for collateral services: {why}")]
    Trust {
        /// What is wrong.
        why: String,
    },
    /// The directory cannot be read.
    #[error("directory of collateral {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Neither services nor a directory.
    #[error("expected a collateral service or a directory, found neither")]
    NoSource,
}
