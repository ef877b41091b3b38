//! The certificate a marble is given on activation, and how it is recognised later (`spec/03`).

use std::sync::Arc;

use const_oid::ObjectIdentifier;
use uuid::Uuid;

use super::authority::Authority;
use super::certificate::{Draft, Parsed, random_serial};
use super::extensions::{AlternativeNames, CLIENT_AUTH, Profile, SERVER_AUTH, key_usage};
use super::key::PrivateKey;
use super::name;
use super::request::Csr;
use crate::ambient::{Ambient, CryptoFault};

/// Extension with the marble type: raw UTF-8, no ASN.1 inside the OCTET STRING.
pub const MARBLE_TYPE_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.9903.2.1");

/// Longest certificate looked at when a marble is to be recognised, in bytes. Ours stay below: a marble's names
/// come from a request of bounded size.
const MAX_CERTIFICATE: usize = super::request::MAX_REQUEST + 8 * 1024;

/// What a marble proves its identity with.
#[derive(Clone)]
pub struct MarbleIdentity {
    /// The certificate, DER; issued by the Marble root.
    pub certificate: Arc<[u8]>,
    /// Its key, on the suite's curve.
    pub key: PrivateKey,
}

/// Who a marble certificate says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marble {
    /// The marble's UUID.
    pub uuid: Uuid,
    /// The marble type, as named in the manifest of its activation.
    pub marble_type: String,
}

/// Issues a marble's certificate for a fresh key.
///
/// The subject is that of the request with the UUID (canonical, lower case) as CommonName and without
/// Organization; the names are the request's. It is valid from now until the Marble root is replaced.
///
/// # Errors
/// [`CryptoFault`] if the provider fails.
pub fn issue(
    authority: &Authority,
    csr: &Csr,
    uuid: Uuid,
    marble_type: &str,
    ambient: &Ambient<'_>,
) -> Result<MarbleIdentity, CryptoFault> {
    let issuer = Parsed::read_own(&authority.marble_root)?;
    let issuer_name = issuer.subject()?;
    let mut subject = csr.subject().clone();
    subject.common_name = uuid.hyphenated().to_string();
    subject.organization.clear();
    let key = ambient.dice.generate_key(authority.suite.key_kind())?;
    let extensions = Profile {
        key_usage: key_usage::DIGITAL_SIGNATURE | key_usage::KEY_AGREEMENT,
        extended_key_usage: &[SERVER_AUTH, CLIENT_AUTH],
        authority_key_id: Some(&issuer.subject_key_id()?),
        names: AlternativeNames::of_hosts(csr.names()),
        extra: Some((MARBLE_TYPE_EXTENSION, marble_type.as_bytes())),
        ..Profile::default()
    }
    .encode()?;
    let certificate = Draft {
        serial: random_serial(ambient),
        issuer: &issuer_name,
        subject: &name::encode(&subject)?,
        public_key: key.public(),
        not_before: ambient.now,
        not_after: issuer.not_after(),
        extensions,
    }
    .sign(authority.suite, &authority.intermediate_key, ambient)?;
    Ok(MarbleIdentity {
        certificate: certificate.into(),
        key,
    })
}

/// Why a certificate is not that of a marble started under the current manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAMarble {
    /// Not a certificate of the form we issue.
    #[error("not a marble certificate")]
    Malformed,
    /// It does not name a marble type.
    #[error("the certificate names no marble type")]
    MarbleType,
    /// Its CommonName is not a UUID in canonical form.
    #[error("the certificate's CommonName is not a UUID")]
    Uuid,
    /// Not issued by the current Marble root: of another deployment, or from before a manifest update.
    #[error("the certificate was not issued by the current Marble root")]
    Issuer,
}

/// Recognises a marble by the signature of the current Marble root, the extension and the CommonName. Dates are
/// not looked at. That the caller holds the key was proven by the TLS handshake.
///
/// # Errors
/// [`NotAMarble`]
pub fn recognise(authority: &Authority, leaf_der: &[u8]) -> Result<Marble, NotAMarble> {
    if leaf_der.len() > MAX_CERTIFICATE {
        return Err(NotAMarble::Malformed);
    }
    let leaf = Parsed::read(leaf_der).ok_or(NotAMarble::Malformed)?;
    // Most callers are users: tell them apart before a signature is verified.
    let marble_type = leaf
        .extension(MARBLE_TYPE_EXTENSION)
        .ok_or(NotAMarble::MarbleType)?;
    let marble_type = str::from_utf8(marble_type).map_err(|_| NotAMarble::MarbleType)?;
    let subject = leaf.subject().map_err(|_| NotAMarble::Malformed)?;
    let subject = name::decode(&subject).map_err(|_| NotAMarble::Malformed)?;
    let uuid = Uuid::parse_str(&subject.common_name).map_err(|_| NotAMarble::Uuid)?;
    if uuid.hyphenated().to_string() != subject.common_name {
        return Err(NotAMarble::Uuid);
    }
    let issuer = Parsed::read(&authority.marble_root).ok_or(NotAMarble::Issuer)?;
    let issued = leaf.tbs.issuer == issuer.tbs.subject
        && leaf.is_signed_by(authority.suite, authority.intermediate_key.public());
    match issued {
        true => Ok(Marble {
            uuid,
            marble_type: marble_type.to_owned(),
        }),
        false => Err(NotAMarble::Issuer),
    }
}
