//! The certificate authority of a deployment: root, intermediate and Marble root (`spec/03`).
//!
//! *Outside*, a marble's certificate is verified through intermediate to root; *inside*, through the Marble
//! root alone. Intermediate and Marble root share name, key and identifier, so both paths work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;

use super::certificate::{Draft, NO_EXPIRY, Parsed, key_identifier, random_serial};
use super::extensions::{AlternativeNames, CLIENT_AUTH, Profile, SERVER_AUTH, host_names, key_usage};
use super::host_name::HostName;
use super::key::{PrivateKey, SignatureHash};
use super::name;
use super::suite::CryptoSuite;
use crate::ambient::{Ambient, CryptoFault};

/// CommonName of the root certificate.
pub const ROOT_NAME: &str = "MarbleRun Coordinator";
/// CommonName of intermediate and Marble root.
pub const INTERMEDIATE_NAME: &str = "MarbleRun Coordinator - Intermediate CA";
/// Extension of the root certificate with evidence over SHA-256 of its own public key: tagged evidence of the
/// TCG DICE attestation architecture.
pub const EVIDENCE_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.9");
/// Most names a deployment may be reached by.
pub const MAX_HOST_NAMES: usize = 256;

/// NotBefore of the authority's certificates lies this many seconds back: a verifier's clock may be behind.
const CLOCK_TOLERANCE: i64 = 10 * 60;

/// The three certificates (DER) and two keys of a deployment. Cloning shares them.
#[derive(Clone)]
pub struct Authority {
    /// The algorithms everything here is made with.
    pub suite: CryptoSuite,
    /// The root certificate, signed by itself; as long-lived as the deployment.
    pub root: Arc<[u8]>,
    /// Key of the root certificate; also signs the manifest.
    pub root_key: PrivateKey,
    /// The intermediate certificate, signed by the root key; lives until the next manifest update.
    pub intermediate: Arc<[u8]>,
    /// The Marble root: the intermediate's name and key, signed by itself.
    pub marble_root: Arc<[u8]>,
    /// Key of intermediate and Marble root; issues marble and secret certificates.
    pub intermediate_key: PrivateKey,
}

/// A new authority for a Coordinator reached by `names` and, always, 127.0.0.1 and ::1.
///
/// `root_evidence` is the value of [`EVIDENCE_EXTENSION`]. As evidence is over the root key, which is made
/// here, whoever makes evidence uses [`create_with`].
///
/// # Errors
/// [`CryptoFault`] if the provider fails, or with more than [`MAX_HOST_NAMES`] names.
pub fn create(
    suite: CryptoSuite,
    names: &[HostName],
    root_evidence: Option<&[u8]>,
    ambient: &Ambient<'_>,
) -> Result<Authority, CryptoFault> {
    create_with(suite, names, ambient, |_| root_evidence.map(<[u8]>::to_vec))
}

/// Like [`create`], with evidence made for the fresh root key: `evidence` gets its PKIX `SubjectPublicKeyInfo`
/// DER and answers with the value of [`EVIDENCE_EXTENSION`], or `None` where there is no evidence.
///
/// # Errors
/// As [`create`].
pub fn create_with(
    suite: CryptoSuite,
    names: &[HostName],
    ambient: &Ambient<'_>,
    evidence: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Result<Authority, CryptoFault> {
    let names = with_loopback(names)?;
    let root_key = ambient.dice.generate_key(suite.key_kind())?;
    let evidence = evidence(root_key.public());
    let subject = name::encode_common_name(ROOT_NAME)?;
    let root = CaCertificate {
        subject: &subject,
        key: &root_key,
        issuer: &subject,
        issuer_key: &root_key,
        issuer_key_id: None,
        names: &names,
        evidence: evidence.as_deref(),
    }
    .issue(suite, ambient)?;
    below(suite, root, root_key, &names, ambient)
}

/// The same root with a new intermediate key, intermediate certificate and Marble root, for a manifest update.
///
/// Names and addresses are those of the root certificate.
///
/// # Errors
/// [`CryptoFault`] if the provider fails or the root certificate is not one of ours.
pub fn renew_intermediate(authority: &Authority, ambient: &Ambient<'_>) -> Result<Authority, CryptoFault> {
    let names = root_names(authority)?;
    below(
        authority.suite,
        authority.root.clone(),
        authority.root_key.clone(),
        &names,
        ambient,
    )
}

/// The names and addresses of the root certificate.
///
/// # Errors
/// [`CryptoFault`] if the root certificate is not one of ours.
pub fn root_names(authority: &Authority) -> Result<Vec<HostName>, CryptoFault> {
    let fault = CryptoFault::in_operation("read the names of the root certificate");
    let root = Parsed::read_own(&authority.root)?;
    let names = root.extension(ID_CE_SUBJECT_ALT_NAME).ok_or(fault)?;
    host_names(names, MAX_HOST_NAMES).map_err(|_| fault)
}

/// The manifest signature: ECDSA in ASN.1 DER by the root key over SHA-256 of `raw`, in both suites.
///
/// # Errors
/// [`CryptoFault`] if the provider fails.
pub fn sign_manifest(
    authority: &Authority,
    raw: &[u8],
    ambient: &Ambient<'_>,
) -> Result<Vec<u8>, CryptoFault> {
    ambient.dice.sign(&authority.root_key, SignatureHash::Sha256, raw)
}

/// The configured names, then the loopback addresses, each once.
fn with_loopback(names: &[HostName]) -> Result<Vec<HostName>, CryptoFault> {
    let loopback = [
        HostName::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        HostName::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    if names.len() > MAX_HOST_NAMES - loopback.len() {
        return Err(CryptoFault::in_operation(
            "issue a certificate for so many host names",
        ));
    }
    let mut all: Vec<HostName> = Vec::with_capacity(names.len() + loopback.len());
    for name in names.iter().chain(&loopback) {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    Ok(all)
}

/// Everything below a root.
fn below(
    suite: CryptoSuite,
    root: Arc<[u8]>,
    root_key: PrivateKey,
    names: &[HostName],
    ambient: &Ambient<'_>,
) -> Result<Authority, CryptoFault> {
    let intermediate_key = ambient.dice.generate_key(suite.key_kind())?;
    let subject = name::encode_common_name(INTERMEDIATE_NAME)?;
    let issuer = Parsed::read_own(&root)?;
    let (root_subject, root_key_id) = (issuer.subject()?, issuer.subject_key_id()?);
    let certificate = |issuer, issuer_key, issuer_key_id| CaCertificate {
        subject: &subject,
        key: &intermediate_key,
        issuer,
        issuer_key,
        issuer_key_id,
        names,
        evidence: None,
    };
    let intermediate = certificate(&root_subject, &root_key, Some(&root_key_id)).issue(suite, ambient)?;
    let marble_root = certificate(&subject, &intermediate_key, None).issue(suite, ambient)?;
    Ok(Authority {
        suite,
        root,
        root_key,
        intermediate,
        marble_root,
        intermediate_key,
    })
}

/// What the three certificates of the authority differ in.
struct CaCertificate<'a> {
    subject: &'a [u8],
    key: &'a PrivateKey,
    issuer: &'a [u8],
    issuer_key: &'a PrivateKey,
    /// `None` when it is signed by itself.
    issuer_key_id: Option<&'a [u8]>,
    names: &'a [HostName],
    evidence: Option<&'a [u8]>,
}

impl CaCertificate<'_> {
    fn issue(&self, suite: CryptoSuite, ambient: &Ambient<'_>) -> Result<Arc<[u8]>, CryptoFault> {
        let subject_key_id = key_identifier(self.key.public())?;
        let extensions = Profile {
            key_usage: key_usage::DIGITAL_SIGNATURE | key_usage::CERT_SIGN,
            extended_key_usage: &[SERVER_AUTH, CLIENT_AUTH],
            is_ca: true,
            subject_key_id: Some(&subject_key_id),
            authority_key_id: self.issuer_key_id,
            names: AlternativeNames::of_hosts(self.names),
            extra: self.evidence.map(|evidence| (EVIDENCE_EXTENSION, evidence)),
            ..Profile::default()
        }
        .encode()?;
        let draft = Draft {
            serial: random_serial(ambient),
            issuer: self.issuer,
            subject: self.subject,
            public_key: self.key.public(),
            not_before: ambient.now.plus_seconds(-CLOCK_TOLERANCE),
            not_after: NO_EXPIRY,
            extensions,
        };
        draft.sign(suite, self.issuer_key, ambient).map(Arc::from)
    }
}
