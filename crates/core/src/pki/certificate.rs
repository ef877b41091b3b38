//! X.509 certificates (RFC 5280 section 4.1): what we put together and sign, and what we read of our own.
//!
//! Names and keys are copied byte for byte from where they come, never decoded and encoded again: path
//! building compares bytes.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER;
use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384};
use der::asn1::{AnyRef, BitStringRef, OctetStringRef, UintRef};
use der::{DateTime, Decode, Encode as _, Reader as _, Sequence, SliceReader};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use time::OffsetDateTime;
use x509_cert::ext::Extension;
use x509_cert::time::{Time, Validity};

use super::key::PrivateKey;
use super::suite::CryptoSuite;
use crate::ambient::{Ambient, CryptoFault, Timestamp};

/// NotAfter of what lives until it is replaced: 99991231235959Z (RFC 5280 section 4.1.2.5).
pub(super) const NO_EXPIRY: Timestamp = Timestamp::from_unix_seconds(253_402_300_799);

/// A certificate about to be signed.
pub(super) struct Draft<'a> {
    /// 1 to 16 bytes, not all zero.
    pub serial: [u8; 16],
    /// DER of the issuer's name.
    pub issuer: &'a [u8],
    /// DER of the subject's name.
    pub subject: &'a [u8],
    /// PKIX DER of the subject's key.
    pub public_key: &'a [u8],
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub extensions: Vec<Extension>,
}

/// `TBSCertificate`, version 3, without the unique identifiers nobody uses.
#[derive(Sequence)]
pub(super) struct TbsCertificate<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub version: u8,
    pub serial: UintRef<'a>,
    pub signature: AlgorithmIdentifierRef<'a>,
    pub issuer: AnyRef<'a>,
    pub validity: Validity,
    pub subject: AnyRef<'a>,
    pub public_key: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    pub extensions: Vec<Extension>,
}

/// A certificate taken apart.
pub(super) struct Parsed<'a> {
    /// The bytes that are signed.
    pub signed: &'a [u8],
    pub tbs: TbsCertificate<'a>,
    pub algorithm: AlgorithmIdentifierRef<'a>,
    pub signature: &'a [u8],
}

/// A random serial number of 128 bits, positive and not zero.
pub(super) fn random_serial(ambient: &Ambient<'_>) -> [u8; 16] {
    let mut serial = [0; 16];
    ambient.dice.fill(&mut serial);
    if serial == [0; 16] {
        serial = 1_u128.to_be_bytes();
    }
    serial
}

/// Subject key identifier of a PKIX public key: the first 20 bytes of SHA-256 over the key's bits (RFC 7093
/// section 2, method 1).
pub(super) fn key_identifier(public_key_pkix: &[u8]) -> Result<[u8; 20], CryptoFault> {
    let fault = CryptoFault::in_operation("read a public key");
    let info = SubjectPublicKeyInfoRef::from_der(public_key_pkix).map_err(|_| fault)?;
    let hash = digest(&SHA256, info.subject_public_key.as_bytes().ok_or(fault)?);
    hash.as_ref().first_chunk().copied().ok_or(fault)
}

impl Draft<'_> {
    /// Signs the draft with the suite's algorithm. `issuer_key` has to be on the suite's curve.
    pub(super) fn sign(
        self,
        suite: CryptoSuite,
        issuer_key: &PrivateKey,
        ambient: &Ambient<'_>,
    ) -> Result<Vec<u8>, CryptoFault> {
        let signed = self.into_signed_part(suite)?;
        let signature = ambient.dice.sign(issuer_key, suite.signature_hash(), &signed)?;
        let encode = || {
            Signed {
                tbs: AnyRef::from_der(&signed)?,
                algorithm: algorithm(suite),
                signature: BitStringRef::from_bytes(&signature)?,
            }
            .to_der()
        };
        encode().map_err(|_| CryptoFault::in_operation("encode a certificate"))
    }

    /// The bytes to sign.
    pub(super) fn into_signed_part(self, suite: CryptoSuite) -> Result<Vec<u8>, CryptoFault> {
        let encode = || {
            TbsCertificate {
                version: 2,
                serial: UintRef::new(&self.serial)?,
                signature: algorithm(suite),
                issuer: AnyRef::from_der(self.issuer)?,
                validity: Validity::new(time(self.not_before)?, time(self.not_after)?),
                subject: AnyRef::from_der(self.subject)?,
                public_key: AnyRef::from_der(self.public_key)?,
                extensions: self.extensions,
            }
            .to_der()
        };
        encode().map_err(|_| CryptoFault::in_operation("encode a certificate"))
    }
}

/// `Certificate` with its parts ready made.
#[derive(Sequence)]
struct Signed<'a> {
    tbs: AnyRef<'a>,
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
}

impl<'a> Parsed<'a> {
    /// Takes a version 3 certificate apart; `None` if it is none.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut reader = SliceReader::new(der).ok()?;
        let (signed, algorithm, signature) = reader
            .sequence(|fields| {
                let signed = fields.tlv_bytes()?;
                let algorithm = AlgorithmIdentifierRef::decode(fields)?;
                Ok::<_, der::Error>((signed, algorithm, BitStringRef::decode(fields)?))
            })
            .ok()?;
        reader.finish().ok()?;
        let tbs = TbsCertificate::from_der(signed).ok()?;
        if tbs.version != 2 || tbs.signature != algorithm {
            return None;
        }
        Some(Self {
            signed,
            tbs,
            algorithm,
            signature: signature.as_bytes()?,
        })
    }

    /// One of our own certificates.
    pub(super) fn read_own(der: &'a [u8]) -> Result<Self, CryptoFault> {
        Self::read(der).ok_or(CryptoFault::in_operation("read a certificate of the authority"))
    }

    /// The value of the one extension of this type; `None` if there is none, or more than one.
    pub(super) fn extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        let mut found = self
            .tbs
            .extensions
            .iter()
            .filter(|extension| extension.extn_id == oid);
        let extension = found.next()?;
        found.next().is_none().then(|| extension.extn_value.as_bytes())
    }

    /// Its subject key identifier: what certificates it issues name as their authority's.
    pub(super) fn subject_key_id(&self) -> Result<Vec<u8>, CryptoFault> {
        let value = self.extension(ID_CE_SUBJECT_KEY_IDENTIFIER);
        let id = value.and_then(|value| <&OctetStringRef>::from_der(value).ok());
        let id = id.ok_or(CryptoFault::in_operation(
            "read the key identifier of the authority",
        ))?;
        Ok(id.as_bytes().to_vec())
    }

    /// DER of its subject.
    pub(super) fn subject(&self) -> Result<Vec<u8>, CryptoFault> {
        self.tbs
            .subject
            .to_der()
            .map_err(|_| CryptoFault::in_operation("read the subject of a certificate"))
    }

    /// NotAfter.
    pub(super) fn not_after(&self) -> Timestamp {
        let seconds = self.tbs.validity.not_after.to_unix_duration().as_secs();
        Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// Whether it is signed, with the suite's algorithm, by the holder of this PKIX public key.
    pub(super) fn is_signed_by(&self, suite: CryptoSuite, public_key_pkix: &[u8]) -> bool {
        let Ok(info) = SubjectPublicKeyInfoRef::from_der(public_key_pkix) else {
            return false;
        };
        let Some(point) = info.subject_public_key.as_bytes() else {
            return false;
        };
        let verification = match suite {
            CryptoSuite::P256Aes128 => &ECDSA_P256_SHA256_ASN1,
            CryptoSuite::P384Aes256 => &ECDSA_P384_SHA384_ASN1,
        };
        self.algorithm == algorithm(suite)
            && UnparsedPublicKey::new(verification, point)
                .verify(self.signed, self.signature)
                .is_ok()
    }
}

fn algorithm(suite: CryptoSuite) -> AlgorithmIdentifierRef<'static> {
    let oid = match suite {
        CryptoSuite::P256Aes128 => ECDSA_WITH_SHA_256,
        CryptoSuite::P384Aes256 => ECDSA_WITH_SHA_384,
    };
    AlgorithmIdentifierRef {
        oid,
        parameters: None,
    }
}

/// UTCTime up to 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5). X.509 dates before 1970, all
/// long expired, become the first second of 1970.
fn time(timestamp: Timestamp) -> der::Result<Time> {
    let error = |_| der::Error::from(der::ErrorKind::DateTime);
    let time = OffsetDateTime::from_unix_timestamp(timestamp.unix_seconds().max(0)).map_err(error)?;
    let year = u16::try_from(time.year()).map_err(|_| der::ErrorKind::DateTime)?;
    let (month, day) = (u8::from(time.month()), time.day());
    Ok(Time::from(DateTime::new(
        year,
        month,
        day,
        time.hour(),
        time.minute(),
        time.second(),
    )?))
}
