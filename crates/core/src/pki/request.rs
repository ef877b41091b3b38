//! Certificate requests of marbles (PKCS#10, RFC 2986): read with suspicion, as anyone can send one.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_EC_PUBLIC_KEY, ID_EXTENSION_REQ,
    RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1, SHA_256_WITH_RSA_ENCRYPTION,
    SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{Any, AnyRef, BitStringRef, SetOfVec};
use der::{Decode as _, Encode as _, Reader as _, Sequence, SliceReader};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;

use super::extensions::host_names;
use super::host_name::HostName;
use super::name;
use crate::secret::spec::SubjectTemplate;

pub use super::extensions::AlternativeNameError;
pub use super::name::NameError;

/// Longest request we read, in bytes.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Most alternative names a request may ask for.
pub const MAX_NAMES: usize = 256;

/// A request whose signature holds. Its key is not used and not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    subject: SubjectTemplate,
    names: Vec<HostName>,
}

impl Csr {
    /// The subject as asked for. What of it a certificate gets is decided where it is issued.
    pub fn subject(&self) -> &SubjectTemplate {
        &self.subject
    }

    /// The DNS names and IP addresses asked for, in order.
    pub fn names(&self) -> &[HostName] {
        &self.names
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Longer than any request we take.
    #[error("the certificate request has {length} bytes, at most {MAX_REQUEST} are possible")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Not a certificate request in DER.
    #[error("not a certificate request (PKCS#10 DER)")]
    Malformed,
    /// A key we cannot verify signatures of.
    #[error(
        "the certificate request's key is not supported: expected ECDSA on P-256, P-384 or P-521, Ed25519, or \
         RSA (algorithm {algorithm})"
    )]
    Key {
        /// The object identifier of its algorithm or curve.
        algorithm: ObjectIdentifier,
    },
    /// A signature algorithm that we do not take or that the key cannot make.
    #[error("the certificate request's signature algorithm {algorithm} is not supported for its key")]
    SignatureAlgorithm {
        /// Its object identifier.
        algorithm: ObjectIdentifier,
    },
    /// The signature does not hold, or the RSA key has less than 2048 or more than 8192 bits.
    #[error("the certificate request's signature is not valid")]
    Signature,
    /// The subject cannot be read.
    #[error("the certificate request's subject: {0}")]
    Subject(#[source] NameError),
    /// The alternative names cannot be read.
    #[error("the certificate request's subject alternative names: {0}")]
    AlternativeNames(#[source] AlternativeNameError),
}

/// Reads a request and verifies its signature.
///
/// # Errors
/// [`CsrError`]
pub fn parse(der: &[u8]) -> Result<Csr, CsrError> {
    if der.len() > MAX_REQUEST {
        return Err(CsrError::TooLarge { length: der.len() });
    }
    let malformed = |_: der::Error| CsrError::Malformed;
    // 1. The three parts of the request.
    let mut reader = SliceReader::new(der).map_err(malformed)?;
    let (signed, algorithm, signature) = reader
        .sequence(|fields| {
            let signed = fields.tlv_bytes()?;
            let algorithm = AlgorithmIdentifierRef::decode(fields)?;
            Ok::<_, der::Error>((signed, algorithm, BitStringRef::decode(fields)?))
        })
        .map_err(malformed)?;
    reader.finish().map_err(malformed)?;
    let info = RequestInfo::from_der(signed).map_err(malformed)?;
    if info.version != 0 {
        return Err(CsrError::Malformed);
    }
    // 2. The signature, before anything is made of what it covers.
    verify(
        &info.public_key,
        &algorithm,
        signed,
        signature.as_bytes().ok_or(CsrError::Malformed)?,
    )?;
    // 3. Subject and names.
    let subject = info.subject.to_der().map_err(malformed)?;
    let subject = name::decode(&subject).map_err(CsrError::Subject)?;
    let names = match alternative_names(&info.attributes)? {
        Some(value) => host_names(&value, MAX_NAMES).map_err(CsrError::AlternativeNames)?,
        None => Vec::new(),
    };
    Ok(Csr { subject, names })
}

/// `CertificationRequestInfo` (RFC 2986 section 4.1).
#[derive(Sequence)]
struct RequestInfo<'a> {
    version: u8,
    subject: AnyRef<'a>,
    public_key: SubjectPublicKeyInfoRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: SetOfVec<Attribute>,
}

fn verify(
    key: &SubjectPublicKeyInfoRef<'_>,
    algorithm: &AlgorithmIdentifierRef<'_>,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), CsrError> {
    let key_bits = key.subject_public_key.as_bytes().ok_or(CsrError::Malformed)?;
    let unsupported = CsrError::SignatureAlgorithm {
        algorithm: algorithm.oid,
    };
    // RFC 5758 section 3.2 and RFC 8410 section 3: no parameters; RFC 4055 section 5: NULL.
    let parameters_fit = match key.algorithm.oid {
        RSA_ENCRYPTION => algorithm.parameters.is_none_or(AnyRef::is_null),
        _ => algorithm.parameters.is_none(),
    };
    let verification = verification(&key.algorithm, algorithm.oid)?.filter(|_| parameters_fit);
    UnparsedPublicKey::new(verification.ok_or(unsupported)?, key_bits)
        .verify(signed, signature)
        .map_err(|_| CsrError::Signature)
}

/// How to verify signatures of this algorithm by such a key; `Ok(None)` if the two do not go together.
fn verification(
    key: &AlgorithmIdentifierRef<'_>,
    signature: ObjectIdentifier,
) -> Result<Option<&'static dyn VerificationAlgorithm>, CsrError> {
    let curve = match key.oid {
        ID_EC_PUBLIC_KEY => key
            .parameters
            .and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok()),
        _ => None,
    };
    Ok(Some(match (key.oid, curve, signature) {
        (ID_EC_PUBLIC_KEY, Some(SECP_256_R_1), ECDSA_WITH_SHA_256) => &ECDSA_P256_SHA256_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_256_R_1), ECDSA_WITH_SHA_384) => &ECDSA_P256_SHA384_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_256_R_1), ECDSA_WITH_SHA_512) => &ECDSA_P256_SHA512_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_384_R_1), ECDSA_WITH_SHA_256) => &ECDSA_P384_SHA256_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_384_R_1), ECDSA_WITH_SHA_384) => &ECDSA_P384_SHA384_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_384_R_1), ECDSA_WITH_SHA_512) => &ECDSA_P384_SHA512_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_521_R_1), ECDSA_WITH_SHA_256) => &ECDSA_P521_SHA256_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_521_R_1), ECDSA_WITH_SHA_384) => &ECDSA_P521_SHA384_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_521_R_1), ECDSA_WITH_SHA_512) => &ECDSA_P521_SHA512_ASN1,
        (ID_EC_PUBLIC_KEY, Some(SECP_256_R_1 | SECP_384_R_1 | SECP_521_R_1), _) => return Ok(None),
        (RSA_ENCRYPTION, _, SHA_256_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA256,
        (RSA_ENCRYPTION, _, SHA_384_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA384,
        (RSA_ENCRYPTION, _, SHA_512_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA512,
        (ID_ED_25519, _, ID_ED_25519) => &ED25519,
        (RSA_ENCRYPTION | ID_ED_25519, _, _) => return Ok(None),
        (algorithm, curve, _) => {
            return Err(CsrError::Key {
                algorithm: curve.unwrap_or(algorithm),
            });
        }
    }))
}

/// The value of the one SubjectAltName extension among the requested extensions (RFC 2985 section 5.4.2).
fn alternative_names(attributes: &SetOfVec<Attribute>) -> Result<Option<Vec<u8>>, CsrError> {
    let mut found = None;
    let requested = attributes
        .iter()
        .filter(|attribute| attribute.oid == ID_EXTENSION_REQ);
    for value in requested.flat_map(|attribute| attribute.values.iter()) {
        let extensions: Vec<Extension> = Any::decode_as(value).map_err(|_| CsrError::Malformed)?;
        for extension in extensions {
            if extension.extn_id == ID_CE_SUBJECT_ALT_NAME
                && found
                    .replace(extension.extn_value.into_bytes().into_vec())
                    .is_some()
            {
                return Err(CsrError::Malformed);
            }
        }
    }
    Ok(found)
}
