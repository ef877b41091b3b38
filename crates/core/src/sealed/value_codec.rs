//! How secret values, keys and names stand in changes and checkpoints.

use std::sync::Arc;

use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};

use super::cbor::{Encoded, Fault, read_list, read_optional, read_tuple};
use crate::manifest::Name;
use crate::secret::value::{CertificateValue, SecretBytes, SecretValue};

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
