//! How secret values, keys and names stand in changes and checkpoints.

use std::sync::Arc;

use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};

use super::cbor::{Encoded, Fault, read_list, read_optional, read_tuple};
use crate::manifest::Name;
use crate::pki::key::PrivateKey;
use crate::secret::value::{CertificateValue, SecretBytes, SecretValue};
use crate::state::PreviousSecret;

/// `[1, key]`, `[2, bytes]` or `[3, certificate, public key, private key or null]`.
pub(super) fn encode_value<W: Write>(to: &mut Encoder<W>, value: &SecretValue) -> Encoded<W> {
    match value {
        SecretValue::Symmetric(key) => to.array(2)?.u8(1)?.bytes(key.expose())?.ok(),
        SecretValue::Plain(bytes) => to.array(2)?.u8(2)?.bytes(bytes.expose())?.ok(),
        SecretValue::Certificate(value) => {
            to.array(4)?
                .u8(3)?
                .bytes(&value.certificate)?
                .bytes(&value.public)?;
            match &value.private {
                Some(key) => to.bytes(key.expose())?.ok(),
                None => to.null()?.ok(),
            }
        }
    }
}

pub(super) fn decode_value(from: &mut Decoder<'_>) -> Result<SecretValue, Fault> {
    let length = from.array()?;
    Ok(match (from.u64()?, length) {
        (1, Some(2)) => SecretValue::Symmetric(secret(from)?),
        (2, Some(2)) => SecretValue::Plain(secret(from)?),
        (3, Some(4)) => SecretValue::Certificate(CertificateValue {
            certificate: bytes(from)?,
            public: bytes(from)?,
            private: read_optional(from, secret)?,
        }),
        (1..=3, _) => return Err(Fault::Malformed("a secret value has the wrong number of parts")),
        (found, _) => {
            return Err(Fault::Newer {
                what: "kind of secret value",
                found,
            });
        }
    })
}

/// `[[name, item], …]`
pub(super) fn encode_named<'n, W: Write, T>(
    to: &mut Encoder<W>,
    items: impl ExactSizeIterator<Item = (&'n Name, T)>,
    mut encode: impl FnMut(&mut Encoder<W>, T) -> Encoded<W>,
) -> Encoded<W> {
    to.array(items.len() as u64)?;
    for (name, item) in items {
        to.array(2)?.str(name)?;
        encode(to, item)?;
    }
    Ok(())
}

pub(super) fn decode_named<'b, T>(
    from: &mut Decoder<'b>,
    mut decode: impl FnMut(&mut Decoder<'b>) -> Result<T, Fault>,
    mut take: impl FnMut(Name, T),
) -> Result<(), Fault> {
    read_list(from, |from| {
        read_tuple(from, 2)?;
        let name = Name::from(from.str()?);
        take(name, decode(from)?);
        Ok(())
    })?;
    Ok(())
}

pub(super) fn bytes(from: &mut Decoder<'_>) -> Result<Arc<[u8]>, Fault> {
    Ok(from.bytes()?.into())
}

pub(super) fn secret(from: &mut Decoder<'_>) -> Result<SecretBytes, Fault> {
    Ok(SecretBytes::copy_from(from.bytes()?))
}

/// `[1, value]` or `[2, root secret]`
pub(super) fn encode_previous<W: Write>(to: &mut Encoder<W>, previous: &PreviousSecret) -> Encoded<W> {
    match previous {
        PreviousSecret::Value(value) => encode_value(to.array(2)?.u8(1)?, value),
        PreviousSecret::RootSecret(secret) => to.array(2)?.u8(2)?.bytes(secret.expose())?.ok(),
    }
}

pub(super) fn decode_previous(from: &mut Decoder<'_>) -> Result<PreviousSecret, Fault> {
    read_tuple(from, 2)?;
    match from.u64()? {
        1 => Ok(PreviousSecret::Value(Arc::new(decode_value(from)?))),
        2 => Ok(PreviousSecret::RootSecret(secret(from)?)),
        found => Err(Fault::Newer {
            what: "kind of previous secret",
            found,
        }),
    }
}

/// `[name, …]`
pub(super) fn encode_names<'n, W: Write>(
    to: &mut Encoder<W>,
    names: impl ExactSizeIterator<Item = &'n Name>,
) -> Encoded<W> {
    to.array(names.len() as u64)?;
    for name in names {
        to.str(name)?;
    }
    Ok(())
}

pub(super) fn decode_names(from: &mut Decoder<'_>) -> Result<Vec<Name>, Fault> {
    let mut names = Vec::new();
    read_list(from, |from| {
        names.push(Name::from(from.str()?));
        Ok(())
    })?;
    Ok(names)
}

/// A key of the authority, with exactly the bytes it had: parsing alone may write them in another form.
pub(super) fn private_key(from: &mut Decoder<'_>) -> Result<PrivateKey, Fault> {
    let der = from.bytes()?;
    let parsed =
        PrivateKey::from_pkcs8(der).map_err(|_| Fault::Malformed("a key of the authority is not one"))?;
    let public = Arc::clone(parsed.public());
    Ok(PrivateKey::from_parts(
        parsed.kind(),
        SecretBytes::copy_from(der),
        public,
    ))
}

/// The root secret: 32 bytes.
pub(super) fn root_secret(from: &mut Decoder<'_>) -> Result<SecretBytes, Fault> {
    let secret = secret(from)?;
    match secret.len() {
        32 => Ok(secret),
        _ => Err(Fault::Malformed("the root secret has not 32 bytes")),
    }
}

/// The 16 bytes of a UUID.
pub(super) fn uuid(from: &mut Decoder<'_>) -> Result<uuid::Uuid, Fault> {
    uuid::Uuid::from_slice(from.bytes()?).map_err(|_| Fault::Malformed("a UUID has not 16 bytes"))
}
