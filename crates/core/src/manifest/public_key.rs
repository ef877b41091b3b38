//! Public keys in certificates of users and as recovery keys: those the Coordinator can work with.

use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519, ParsedPublicKey,
    VerificationAlgorithm,
};
use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, Tagged as _};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED_25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P_521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// An X.509 certificate, version 1 or 3, with a key that can log in. Issuer, subject, validity and extensions
/// are not looked at (`spec/01`, "Users, Roles"), so they are not parsed either.
pub(super) fn check_certificate(der: &[u8]) -> Result<(), String> {
    let key = subject_public_key(der).map_err(|error| match error {
        CertificateFault::Structure(_) => "it is not an X.509 certificate".to_owned(),
        CertificateFault::Version => "its version is neither 1 nor 3".to_owned(),
    })?;
    check_user_key(key)
}

/// The `SubjectPublicKeyInfo` of an X.509 certificate, version 1 or 3, of whatever algorithm; `None` if it is none.
pub(crate) fn certificate_public_key(der: &[u8]) -> Option<&[u8]> {
    subject_public_key(der).ok()
}

enum CertificateFault {
    Structure(#[expect(dead_code, reason = "carried so that `?` works, the text helps nobody")] der::Error),
    Version,
}

impl From<der::Error> for CertificateFault {
    fn from(error: der::Error) -> Self {
        Self::Structure(error)
    }
}

/// Walks a certificate (RFC 5280 section 4.1) down to its `SubjectPublicKeyInfo`.
fn subject_public_key(der: &[u8]) -> Result<&[u8], CertificateFault> {
    let certificate = sequence(AnyRef::from_der(der)?)?;
    let mut parts = SliceReader::new(certificate)?;
    let to_be_signed = sequence(AnyRef::decode(&mut parts)?)?;
    sequence(AnyRef::decode(&mut parts)?)?;
    BitStringRef::decode(&mut parts)?;
    parts.finish()?;

    let mut fields = SliceReader::new(to_be_signed)?;
    let mut serial = AnyRef::decode(&mut fields)?;
    if serial.tag() != Tag::Integer {
        let explicit_version =
            matches!(serial.tag(), Tag::ContextSpecific { constructed: true, number } if number.value() == 0);
        match u8::from_der(serial.value()) {
            Ok(0 | 2) if explicit_version => {}
            _ => return Err(CertificateFault::Version),
        }
        serial = AnyRef::decode(&mut fields)?;
    }
    serial.tag().assert_eq(Tag::Integer)?;
    for _signature_issuer_validity_subject in 0..4 {
        sequence(AnyRef::decode(&mut fields)?)?;
    }
    Ok(fields.tlv_bytes()?)
}

fn sequence(any: AnyRef<'_>) -> Result<&[u8], der::Error> {
    any.tag().assert_eq(Tag::Sequence)?;
    Ok(any.value())
}

fn check_user_key(pkix: &[u8]) -> Result<(), String> {
    let info =
        SubjectPublicKeyInfoRef::from_der(pkix).map_err(|_| "its public key cannot be read".to_owned())?;
    let algorithm: &'static dyn VerificationAlgorithm = match info.algorithm.oid {
        RSA => return rsa_from_pkix(pkix).map(drop),
        ED_25519 => &ED25519,
        EC => match info
            .algorithm
            .parameters
            .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
        {
            Some(P_256) => &ECDSA_P256_SHA256_ASN1,
            Some(P_384) => &ECDSA_P384_SHA384_ASN1,
            Some(P_521) => &ECDSA_P521_SHA512_ASN1,
            _ => {
                return Err(
                    "its key is on a curve that TLS has no use for (P-256, P-384 and P-521 are)".to_owned(),
                );
            }
        },
        _ => return Err("its key is neither RSA, ECDSA nor Ed25519".to_owned()),
    };
    let bits = info.subject_public_key.as_bytes().unwrap_or_default();
    let key = ParsedPublicKey::new(algorithm, bits);
    key.map(drop)
        .map_err(|_| "its public key is not valid".to_owned())
}

/// An RSA key in PKIX form, checked and written anew as the one DER form of it.
pub(super) fn rsa_from_pkix(der: &[u8]) -> Result<Vec<u8>, String> {
    let info =
        SubjectPublicKeyInfoRef::from_der(der).map_err(|_| "its public key cannot be read".to_owned())?;
    if info.algorithm.oid != RSA {
        return Err("its key is not an RSA key".to_owned());
    }
    rsa_from_pkcs1(info.subject_public_key.as_bytes().unwrap_or_default())
}

/// An RSA key in PKCS#1 form (RFC 8017 appendix A.1.1), checked; the result is PKIX.
pub(super) fn rsa_from_pkcs1(der: &[u8]) -> Result<Vec<u8>, String> {
    let written = BitStringRef::from_bytes(der).and_then(|subject_public_key| {
        let algorithm = AlgorithmIdentifierRef {
            oid: RSA,
            parameters: Some(AnyRef::NULL),
        };
        SubjectPublicKeyInfoRef {
            algorithm,
            subject_public_key,
        }
        .to_der()
    });
    let pkix = written.map_err(|_| "its public key cannot be read".to_owned())?;
    let key = PublicEncryptingKey::from_der(&pkix)
        .map_err(|_| "its public key is not an RSA key of 2048 to 8192 bits".to_owned())?;
    if (2048..=8192).contains(&key.key_size_bits()) {
        Ok(pkix)
    } else {
        Err("its public key is not an RSA key of 2048 to 8192 bits".to_owned())
    }
}
