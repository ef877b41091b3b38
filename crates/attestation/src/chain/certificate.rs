//! One certificate, read once, and what its issuer has to say about it.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};
use const_oid::ObjectIdentifier;
use x509_cert::der::asn1::Ia5StringRef;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::moment::{Period, UnixSeconds};
use crate::reason::{CertificateRole, Dated, Reason};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");

/// Largest certificate, in bytes; real ones stay below 2 KiB.
const LIMIT: usize = 8 * 1024;

/// A key as certificates of the two manufacturers hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// RSA, 2048 to 8192 bits; signs with RSASSA-PSS and SHA-384.
    Rsa,
    /// P-256; signs with SHA-256.
    P256,
    /// P-384; signs with SHA-384.
    P384,
}

impl KeyKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::P256 => "EC P-256",
            Self::P384 => "EC P-384",
        }
    }

    /// What certificates and revocation lists under such a key are signed with. Nobody issues under P-384.
    fn issues_with(self) -> Option<(&'static dyn VerificationAlgorithm, ObjectIdentifier)> {
        match self {
            Self::Rsa => Some((&RSA_PSS_2048_8192_SHA384, RSASSA_PSS)),
            Self::P256 => Some((&ECDSA_P256_SHA256_ASN1, ECDSA_WITH_SHA256)),
            Self::P384 => None,
        }
    }
}

/// A certificate. Nothing is verified until [`Certificate::is_issued_by`] or [`Certificate::is_root`] says so.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) role: CertificateRole,
    pub(crate) der: Vec<u8>,
    signed: Signed,
    pub(crate) issuer: Name,
    pub(crate) subject: Name,
    pub(crate) serial: Vec<u8>,
    pub(crate) period: Period,
    public_key_info: Vec<u8>,
    pub(crate) key_kind: KeyKind,
    pub(crate) public_key: Vec<u8>,
    issues: bool,
    extensions: Vec<(ObjectIdentifier, Vec<u8>)>,
}

impl Certificate {
    /// Reads DER strictly.
    pub(crate) fn parse(role: CertificateRole, der: &[u8]) -> Result<Self, Reason> {
        let malformed = |why: String| Reason::CertificateMalformed {
            certificate: role,
            why,
        };
        if der.len() > LIMIT {
            return Err(malformed(format!("{} bytes, more than {LIMIT}", der.len())));
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(|error| malformed(error.to_string()))?;
        let tbs = parsed.tbs_certificate();
        let signed = Signed::read(
            der,
            tbs.signature(),
            parsed.signature_algorithm(),
            parsed.signature().as_bytes(),
        )
        .map_err(malformed)?;

        let mut extensions = Vec::new();
        let mut authority = false;
        let mut usage = None;
        for extension in tbs.extensions().into_iter().flatten() {
            let value = extension.extn_value.as_bytes();
            match extension.extn_id {
                BASIC_CONSTRAINTS => {
                    authority = BasicConstraints::from_der(value)
                        .map_err(|error| malformed(format!("basic constraints: {error}")))?
                        .ca;
                }
                KEY_USAGE => {
                    usage = Some(
                        KeyUsage::from_der(value)
                            .map_err(|error| malformed(format!("key usage: {error}")))?,
                    );
                }
                other if extension.critical => {
                    return Err(Reason::CriticalExtension {
                        certificate: role,
                        extension: other.to_string(),
                    });
                }
                _ => {}
            }
            if extensions.iter().any(|(known, _)| *known == extension.extn_id) {
                return Err(malformed(format!("extension {} twice", extension.extn_id)));
            }
            extensions.push((extension.extn_id, value.to_vec()));
        }

        let info = tbs.subject_public_key_info();
        let curve = info
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
        let key_kind = match (info.algorithm.oid, curve) {
            (RSA_ENCRYPTION, _) => KeyKind::Rsa,
            (EC_PUBLIC_KEY, Some(P256)) => KeyKind::P256,
            (EC_PUBLIC_KEY, Some(P384)) => KeyKind::P384,
            (other, _) => return Err(malformed(format!("public key of unknown kind {other}"))),
        };
        let validity = tbs.validity();
        Ok(Self {
            role,
            der: der.to_vec(),
            signed,
            issuer: tbs.issuer().clone(),
            subject: tbs.subject().clone(),
            serial: tbs.serial_number().as_bytes().to_vec(),
            period: Period {
                from: UnixSeconds(validity.not_before.to_unix_duration().as_secs()),
                until: UnixSeconds(validity.not_after.to_unix_duration().as_secs()),
            },
            public_key_info: info.to_der().map_err(|error| malformed(error.to_string()))?,
            key_kind,
            public_key: info
                .subject_public_key
                .as_bytes()
                .ok_or_else(|| malformed("public key with unused bits".to_owned()))?
                .to_vec(),
            issues: authority && usage.is_some_and(|usage| usage.key_cert_sign()),
            extensions,
        })
    }

    /// Whether it is the pinned `root`, possibly issued anew: the same subject and key, signed with that key.
    pub(crate) fn is_root(&self, root: &Self) -> Result<(), Reason> {
        if self.public_key_info != root.public_key_info || self.subject != root.subject {
            return Err(Reason::AnotherRoot {
                certificate: self.role,
                found: format!("{} with key {}", self.subject, self.key_digest()),
                expected: format!("{} with key {}", root.subject, root.key_digest()),
            });
        }
        self.is_issued_by(root)
    }

    /// Names, rights of the issuer, signature; not the dates.
    pub(crate) fn is_issued_by(&self, issuer: &Self) -> Result<(), Reason> {
        if self.issuer != issuer.subject {
            return Err(Reason::AnotherIssuer {
                certificate: self.role,
                found: self.issuer.to_string(),
                expected: issuer.subject.to_string(),
            });
        }
        if !issuer.issues {
            return Err(Reason::NotAnAuthority {
                certificate: issuer.role,
            });
        }
        match self.signed.verify(issuer) {
            Ok(()) => Ok(()),
            Err(NotSigned::Algorithm { found, expected }) => Err(Reason::CertificateAlgorithm {
                certificate: self.role,
                found,
                expected,
            }),
            Err(NotSigned::Signature) => Err(Reason::CertificateSignature {
                certificate: self.role,
                issuer: issuer.role,
            }),
        }
    }

    /// Period of validity, with a name for messages.
    pub(crate) fn dated(&self) -> (Dated, Period) {
        (Dated::Certificate(self.role), self.period)
    }

    /// Whether the key is of this kind.
    pub(crate) fn has_key(&self, expected: KeyKind) -> Result<(), Reason> {
        if self.key_kind == expected {
            return Ok(());
        }
        Err(Reason::CertificateKey {
            certificate: self.role,
            found: self.key_kind.as_str(),
            expected: expected.as_str(),
        })
    }

    /// The only common name of the subject.
    pub(crate) fn common_name(&self) -> Option<String> {
        common_name(&self.subject)
    }

    /// Whether it may issue certificates.
    pub(crate) fn is_authority(&self) -> bool {
        self.issues
    }

    /// The content of an extension.
    pub(crate) fn extension(&self, id: ObjectIdentifier) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find_map(|(known, value)| (*known == id).then_some(value.as_slice()))
    }

    /// An extension whose content is an IA5String.
    pub(crate) fn text_extension(&self, id: ObjectIdentifier) -> Option<&str> {
        Ia5StringRef::from_der(self.extension(id)?)
            .ok()
            .map(|text| text.as_str())
    }

    /// Whether it holds the same subject and key.
    pub(crate) fn is_same_entity(&self, other: &Self) -> bool {
        self.subject == other.subject && self.public_key_info == other.public_key_info
    }

    fn key_digest(&self) -> String {
        hex::encode(digest(&SHA256, &self.public_key_info))
    }
}

/// The only common name in a name.
pub(super) fn common_name(name: &Name) -> Option<String> {
    let mut names = name.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (name, None) = (names.next()?, names.next()) else {
        return None;
    };
    String::from_utf8(name.value.value().to_vec()).ok()
}

/// Checks a period against the time.
pub(crate) fn valid_at(now: UnixSeconds, (dated, period): (Dated, Period)) -> Result<(), Reason> {
    if now < period.from {
        return Err(Reason::NotYetValid {
            dated,
            from: period.from,
            now,
        });
    }
    if now > period.until {
        return Err(Reason::Expired {
            dated,
            until: period.until,
            now,
        });
    }
    Ok(())
}

/// The three parts of what X.509 signs: the bytes, the algorithm, the signature.
#[derive(Clone)]
pub(super) struct Signed {
    bytes: Vec<u8>,
    algorithm: ObjectIdentifier,
    signature: Vec<u8>,
}

pub(super) enum NotSigned {
    Algorithm { found: String, expected: String },
    Signature,
}

impl Signed {
    /// The signed bytes are taken from `der` as they are, never encoded again.
    pub(super) fn read(
        der: &[u8],
        inner: &AlgorithmIdentifierOwned,
        outer: &AlgorithmIdentifierOwned,
        signature: Option<&[u8]>,
    ) -> Result<Self, String> {
        if inner != outer {
            return Err("two different signature algorithms".to_owned());
        }
        let bytes = SliceReader::new(der)
            .and_then(|mut reader| {
                reader.sequence(|content| {
                    let signed = content.tlv_bytes()?.to_vec();
                    content.drain(content.remaining_len())?;
                    Ok::<_, x509_cert::der::Error>(signed)
                })
            })
            .map_err(|error| error.to_string())?;
        Ok(Self {
            bytes,
            algorithm: outer.oid,
            signature: signature
                .ok_or_else(|| "signature with unused bits".to_owned())?
                .to_vec(),
        })
    }

    pub(super) fn verify(&self, issuer: &Certificate) -> Result<(), NotSigned> {
        let expected = issuer.key_kind.issues_with();
        let Some((algorithm, _)) = expected.filter(|(_, id)| *id == self.algorithm) else {
            return Err(NotSigned::Algorithm {
                found: self.algorithm.to_string(),
                expected: expected.map_or_else(|| "none".to_owned(), |(_, id)| id.to_string()),
            });
        };
        UnparsedPublicKey::new(algorithm, &issuer.public_key)
            .verify(&self.bytes, &self.signature)
            .map_err(|_| NotSigned::Signature)
    }
}
