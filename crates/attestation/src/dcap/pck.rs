//! The PCK chain of a platform: PCK certificate, PCK CA, Intel SGX root. Intel SGX PCK Certificate and Certificate
//! Revocation List Profile Specification.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use const_oid::ObjectIdentifier;
use der::Decode;
use der::asn1::{AnyRef, OctetString};

use crate::chain::certificate::KeyKind;
use crate::chain::{Certificate, pem};
use crate::collateral::PckAuthority;
use crate::moment::Period;
use crate::reason::{CertificateRole, Dated, Reason};

const SGX_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");
const TCB: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2");
const PCE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.3");
const FMSPC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.4");
const COMPONENTS: [ObjectIdentifier; 16] = [
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.1"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.2"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.3"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.4"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.5"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.6"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.7"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.8"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.9"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.10"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.11"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.12"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.13"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.14"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.15"),
    ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.16"),
];
const PCE_SVN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.17");
const CPU_SVN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.18");

const PROCESSOR_CA: &str = "Intel SGX PCK Processor CA";
const PLATFORM_CA: &str = "Intel SGX PCK Platform CA";

/// A chain verified to the pinned root, dates and revocation apart.
pub(super) struct PckChain {
    pub(super) root: Certificate,
    pub(super) ca: Certificate,
    pub(super) pck: Certificate,
    pub(super) authority: PckAuthority,
    /// The key that signs reports of the quoting enclave.
    pub(super) key: ParsedPublicKey,
    pub(super) platform: PlatformId,
}

/// What the PCK certificate says about the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlatformId {
    pub(crate) fmspc: [u8; 6],
    pub(crate) pce_id: [u8; 2],
    pub(crate) cpu_svn: [u8; 16],
    /// CPUSVN taken apart into what TCB levels compare.
    pub(crate) components: [u8; 16],
    pub(crate) pce_svn: u16,
}

impl PckChain {
    /// Reads and verifies the chain in a quote.
    pub(super) fn verify(chain: &[u8], pinned: &Certificate) -> Result<Self, Reason> {
        let list = pem::certificates(chain, 3).map_err(|why| Reason::CertificateMalformed {
            certificate: CertificateRole::Pck,
            why,
        })?;
        let [pck, ca, root] = list.as_slice() else {
            return Err(Reason::ChainLength {
                chain: "PCK certificate chain",
                expected: "3",
                found: list.len(),
            });
        };
        let root = Certificate::parse(CertificateRole::IntelSgxRoot, root)?;
        let ca = Certificate::parse(CertificateRole::PckCa, ca)?;
        let pck = Certificate::parse(CertificateRole::Pck, pck)?;
        root.is_root(pinned)?;
        ca.is_issued_by(&root)?;
        pck.is_issued_by(&ca)?;
        let authority = authority(&ca).ok_or_else(|| Reason::AnotherSubject {
            certificate: CertificateRole::PckCa,
            found: ca.common_name().unwrap_or_else(|| "none".to_owned()),
            expected: "Intel SGX PCK Processor CA or Intel SGX PCK Platform CA",
        })?;
        if pck.is_authority() {
            return Err(Reason::UnexpectedAuthority {
                certificate: CertificateRole::Pck,
            });
        }
        pck.has_key(KeyKind::P256)?;
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &pck.public_key).map_err(|error| {
            Reason::CertificateMalformed {
                certificate: CertificateRole::Pck,
                why: format!("public key: {error}"),
            }
        })?;
        let platform = PlatformId::read(&pck)?;
        Ok(Self {
            root,
            ca,
            pck,
            authority,
            key,
            platform,
        })
    }

    pub(super) fn dated(&self) -> [(Dated, Period); 3] {
        [self.root.dated(), self.ca.dated(), self.pck.dated()]
    }
}

/// Which of the two CAs this is, by its name.
pub(super) fn authority(ca: &Certificate) -> Option<PckAuthority> {
    match ca.common_name()?.as_str() {
        PROCESSOR_CA => Some(PckAuthority::Processor),
        PLATFORM_CA => Some(PckAuthority::Platform),
        _ => None,
    }
}

/// A pair of OBJECT IDENTIFIER and value.
#[derive(der::Sequence)]
struct Entry<'d> {
    id: ObjectIdentifier,
    value: AnyRef<'d>,
}

impl PlatformId {
    /// Reads the extension; whose certificate it is has to be known.
    pub(crate) fn read(pck: &Certificate) -> Result<Self, Reason> {
        let missing = || refused("SGX extension", "expected one, found none");
        let content = pck.extension(SGX_EXTENSION).ok_or_else(missing)?;
        let entries = Vec::<Entry<'_>>::from_der(content)
            .map_err(|error| refused("SGX extension", error.to_string()))?;
        let tcb: Vec<Entry<'_>> = find(&entries, TCB, "TCB")?
            .decode_as()
            .map_err(|error: der::Error| refused("TCB", error.to_string()))?;
        let mut components = [0; 16];
        for (target, id) in components.iter_mut().zip(COMPONENTS) {
            *target = number(&tcb, id, "TCB component")?;
        }
        Ok(Self {
            fmspc: octets(&entries, FMSPC, "FMSPC")?,
            pce_id: octets(&entries, PCE_ID, "PCE-ID")?,
            cpu_svn: octets(&tcb, CPU_SVN, "CPUSVN")?,
            components,
            pce_svn: number(&tcb, PCE_SVN, "PCESVN")?,
        })
    }
}

/// The only entry with this id.
fn find<'d>(entries: &[Entry<'d>], id: ObjectIdentifier, name: &'static str) -> Result<AnyRef<'d>, Reason> {
    let mut found = entries.iter().filter(|entry| entry.id == id);
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry.value),
        (None, _) => Err(refused(name, "expected one, found none")),
        _ => Err(refused(name, "expected one, found several")),
    }
}

fn octets<const N: usize>(
    entries: &[Entry<'_>],
    id: ObjectIdentifier,
    name: &'static str,
) -> Result<[u8; N], Reason> {
    let value: OctetString = find(entries, id, name)?
        .decode_as()
        .map_err(|error: der::Error| refused(name, error.to_string()))?;
    <[u8; N]>::try_from(value.as_bytes()).map_err(|_| {
        let found = value.as_bytes().len();
        refused(name, format!("expected {N} bytes, found {found}"))
    })
}

fn number<'d, N>(entries: &[Entry<'d>], id: ObjectIdentifier, name: &'static str) -> Result<N, Reason>
where
    N: der::Choice<'d> + der::DecodeValue<'d, Error = der::Error>,
{
    find(entries, id, name)?
        .decode_as()
        .map_err(|error: der::Error| refused(name, error.to_string()))
}

fn refused(extension: &'static str, why: impl Into<String>) -> Reason {
    Reason::CertificateExtension {
        certificate: CertificateRole::Pck,
        extension,
        why: why.into(),
    }
}
