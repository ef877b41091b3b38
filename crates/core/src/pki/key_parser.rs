//! Reads private keys in the forms that tools write them in, and brings them into the one form we keep.

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_224_R_1, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::key::{KeyKind, PrivateKey, Signer};

/// Longest private key we read: an RSA key of 8192 bits has about 4,700 bytes.
pub const MAX_PRIVATE_KEY: usize = 16 * 1024;

/// Why bytes are not a private key we take. Says nothing of what they hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// Longer than any key we take.
    #[error("the private key has {length} bytes, at most {MAX_PRIVATE_KEY} are possible")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Not DER of any known form.
    #[error("not a private key in PKCS#8, PKCS#1 or SEC1 DER")]
    Malformed,
    /// An algorithm other than RSA, ECDSA and Ed25519.
    #[error("the private key's algorithm {algorithm} is not supported: expected RSA, ECDSA or Ed25519")]
    Algorithm {
        /// Its object identifier.
        algorithm: ObjectIdentifier,
    },
    /// A curve other than the four NIST ones, or one given by its parameters.
    #[error("the private key's curve is not supported: expected P-224, P-256, P-384 or P-521, by name")]
    Curve,
    /// Well-formed, but the numbers are no key: wrong length, halves that do not match, an RSA modulus below
    /// 2048 or above 8192 bits.
    #[error("the private key is not valid, or its size is not supported (RSA: 2048 to 8192 bits)")]
    Invalid,
}

impl From<der::Error> for PrivateKeyError {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

/// PKCS#8, PKCS#1 or SEC1: what follows the version tells which.
pub(super) fn any(der: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
    check_length(der)?;
    let mut reader = SliceReader::new(der)?;
    let second = reader.sequence(|fields| {
        fields.tlv_bytes()?;
        let tag = Tag::peek(fields)?;
        while !fields.is_finished() {
            fields.tlv_bytes()?;
        }
        Ok::<_, der::Error>(tag)
    })?;
    reader.finish()?;
    match second {
        Tag::Sequence => pkcs8(der),
        Tag::Integer => rsa(der),
        Tag::OctetString => sec1(der, None),
        _ => Err(PrivateKeyError::Malformed),
    }
}

/// `PrivateKeyInfo` (RFC 5208) or `OneAsymmetricKey` (RFC 5958).
pub(super) fn pkcs8(der: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
    check_length(der)?;
    let mut reader = SliceReader::new(der)?;
    let (algorithm, key, public) = reader.sequence(|fields| {
        let version = u8::decode(fields)?;
        if version > 1 {
            return Err(PrivateKeyError::Malformed);
        }
        let algorithm = AlgorithmIdentifierRef::decode(fields)?;
        let key = <&OctetStringRef>::decode(fields)?;
        let mut public = None;
        while !fields.is_finished() {
            let field = AnyRef::decode(fields)?;
            match field.tag() {
                // Attributes: nobody gives them a meaning.
                Tag::ContextSpecific {
                    number: TagNumber(0), ..
                } => {}
                Tag::ContextSpecific {
                    number: TagNumber(1), ..
                } if version == 1 && public.is_none() => {
                    // [1] IMPLICIT BIT STRING of whole octets.
                    let bits = field.value().split_first().filter(|(unused, _)| **unused == 0);
                    public = Some(bits.ok_or(PrivateKeyError::Malformed)?.1);
                }
                _ => return Err(PrivateKeyError::Malformed),
            }
        }
        Ok((algorithm, key.as_bytes(), public))
    })?;
    reader.finish()?;
    match algorithm.oid {
        RSA_ENCRYPTION => rsa(key),
        ID_EC_PUBLIC_KEY => {
            let curve = algorithm.parameters.ok_or(PrivateKeyError::Curve)?;
            sec1(
                key,
                Some(
                    curve
                        .decode_as::<ObjectIdentifier>()
                        .map_err(|_| PrivateKeyError::Curve)?,
                ),
            )
        }
        ID_ED_25519 => ed25519(key, public),
        algorithm => Err(PrivateKeyError::Algorithm { algorithm }),
    }
}

fn check_length(der: &[u8]) -> Result<(), PrivateKeyError> {
    match der.len() {
        0..=MAX_PRIVATE_KEY => Ok(()),
        length => Err(PrivateKeyError::TooLarge { length }),
    }
}

/// `RSAPrivateKey` (RFC 8017 appendix A.1.2).
fn rsa(der: &[u8]) -> Result<PrivateKey, PrivateKeyError> {
    let pair = RsaKeyPair::from_der(der).map_err(|_| PrivateKeyError::Invalid)?;
    PrivateKey::from_signer(Signer::Rsa(pair)).map_err(|_| PrivateKeyError::Invalid)
}

/// `CurvePrivateKey` (RFC 8410 section 7): the seed; a public key beside it has to match.
fn ed25519(key: &[u8], public: Option<&[u8]>) -> Result<PrivateKey, PrivateKeyError> {
    let seed = <&OctetStringRef>::from_der(key)?.as_bytes();
    let pair = match public {
        Some(public) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        None => Ed25519KeyPair::from_seed_unchecked(seed),
    };
    let pair = pair.map_err(|_| PrivateKeyError::Invalid)?;
    PrivateKey::from_signer(Signer::Ed25519(pair)).map_err(|_| PrivateKeyError::Invalid)
}

/// `ECPrivateKey` (RFC 5915); the curve may stand inside, outside, or in both places alike.
fn sec1(der: &[u8], outer_curve: Option<ObjectIdentifier>) -> Result<PrivateKey, PrivateKeyError> {
    let mut reader = SliceReader::new(der)?;
    let (scalar, inner_curve, public) = reader.sequence(|fields| {
        if u8::decode(fields)? != 1 {
            return Err(PrivateKeyError::Malformed);
        }
        let scalar = <&OctetStringRef>::decode(fields)?;
        let (mut curve, mut public) = (None, None);
        while !fields.is_finished() {
            let field = AnyRef::decode(fields)?;
            match field.tag() {
                Tag::ContextSpecific {
                    number: TagNumber(0), ..
                } if curve.is_none() => {
                    let named = ObjectIdentifier::from_der(field.value());
                    curve = Some(named.map_err(|_| PrivateKeyError::Curve)?);
                }
                Tag::ContextSpecific {
                    number: TagNumber(1), ..
                } if public.is_none() => {
                    let bits = BitStringRef::from_der(field.value())?;
                    public = Some(bits.as_bytes().ok_or(PrivateKeyError::Malformed)?);
                }
                _ => return Err(PrivateKeyError::Malformed),
            }
        }
        Ok((scalar.as_bytes(), curve, public))
    })?;
    reader.finish()?;
    let curve = match (outer_curve, inner_curve) {
        (Some(outer), Some(inner)) if outer != inner => return Err(PrivateKeyError::Invalid),
        (Some(curve), _) | (None, Some(curve)) => curve,
        (None, None) => return Err(PrivateKeyError::Curve),
    };
    let (kind, length) = match curve {
        SECP_224_R_1 => (KeyKind::P224, 28),
        SECP_256_R_1 => (KeyKind::P256, 32),
        SECP_384_R_1 => (KeyKind::P384, 48),
        SECP_521_R_1 => (KeyKind::P521, 66),
        _ => return Err(PrivateKeyError::Curve),
    };
    let scalar = fixed_length(scalar, length).ok_or(PrivateKeyError::Invalid)?;
    let key = match Signer::ecdsa_algorithm(kind) {
        None => {
            let scalar = scalar
                .as_slice()
                .try_into()
                .map_err(|_| PrivateKeyError::Invalid)?;
            PrivateKey::p224_from_scalar(scalar).ok_or(PrivateKeyError::Invalid)?
        }
        Some(algorithm) => {
            let invalid = |_| PrivateKeyError::Invalid;
            let pair = EcdsaKeyPair::from_private_key_der(algorithm, &bare_sec1(&scalar)).map_err(invalid)?;
            // Once more with the public point beside it, or the provider leaves it out of PKCS#8.
            let point = pair.public_key().as_ref();
            let pair =
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar, point).map_err(invalid)?;
            PrivateKey::from_signer(Signer::Ecdsa(pair)).map_err(|_| PrivateKeyError::Invalid)?
        }
    };
    match public {
        Some(public) if !belongs(public, &key) => Err(PrivateKeyError::Invalid),
        _ => Ok(key),
    }
}

/// The big-endian number in exactly `length` bytes: some tools drop leading zeros or add one.
fn fixed_length(number: &[u8], length: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut fixed = Zeroizing::new(vec![0; length]);
    let excess = number.len().saturating_sub(length);
    let (zeros, digits) = number.split_at_checked(excess)?;
    if zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    let start = length.checked_sub(digits.len())?;
    fixed.get_mut(start..)?.copy_from_slice(digits);
    Some(fixed)
}

/// `ECPrivateKey` with the scalar alone; short enough (at most 66 bytes) for one-byte lengths.
fn bare_sec1(scalar: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = u8::try_from(scalar.len()).unwrap_or(u8::MAX);
    let mut der = Zeroizing::new(Vec::with_capacity(scalar.len() + 7));
    der.extend_from_slice(&[0x30, length.saturating_add(5), 0x02, 0x01, 0x01, 0x04, length]);
    der.extend_from_slice(scalar);
    der
}

/// Whether a public point (compressed or not) is that of the key.
pub(super) fn belongs(point: &[u8], key: &PrivateKey) -> bool {
    let Ok(info) = spki::SubjectPublicKeyInfoRef::from_der(key.public()) else {
        return false;
    };
    let Some(own) = info.subject_public_key.as_bytes() else {
        return false;
    };
    match point.split_first() {
        Some((0x04, _)) => point == own,
        Some((form @ (0x02 | 0x03), x)) => {
            let parity = own.last().map_or(0, |byte| byte & 1);
            own.get(1..=x.len()) == Some(x) && own.len() == 2 * x.len() + 1 && *form == 2 + parity
        }
        _ => false,
    }
}
