//! The clear envelope around what is not encrypted: magic, version, length, body, checksum.
//!
//! The checksum tells bit rot from a newer version or a foreign key; against somebody who writes the file on
//! purpose it does nothing: that is what the associated data of frames and wrapped keys is for. The layout of
//! the envelope itself stays the same in every version of the format.

use super::fields::Fields;
use super::{FORMAT_VERSION, SealedError, sha256};

/// Magic (8), version (2), length (4).
const FRONT: usize = 14;
/// SHA-256 of everything before.
const CHECKSUM: usize = 32;

/// Puts `body` into an envelope.
pub(super) fn close(magic: &str, body: &[u8]) -> Vec<u8> {
    let total = FRONT + body.len() + CHECKSUM;
    let mut bytes = Vec::with_capacity(total);
    bytes.extend_from_slice(magic.as_bytes());
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(body);
    let checksum = sha256(&[&bytes]);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// The body of the envelope at the front of `bytes`, and the length of the whole envelope.
///
/// The length field is believed only up to `limit` bytes and the end of `bytes`, and only with the checksum.
pub(super) fn open<'a>(
    magic: &'static str,
    limit: usize,
    bytes: &'a [u8],
) -> Result<(&'a [u8], usize), SealedError> {
    if bytes.get(..magic.len()) != Some(magic.as_bytes()) {
        return Err(SealedError::NotOurs { expected: magic });
    }
    let mut fields = Fields::new(bytes);
    let (_, Some(version), Some(total)) = (fields.take(magic.len()), fields.u16(), fields.u32()) else {
        return Err(SealedError::corrupt(0, "the header is cut off"));
    };
    let total = total as usize;
    if total < FRONT + CHECKSUM || total > limit {
        return Err(SealedError::corrupt(
            0,
            "the length of the header is out of range",
        ));
    }
    let Some((covered, checksum)) = bytes
        .get(..total)
        .and_then(|envelope| envelope.split_at_checked(total - CHECKSUM))
    else {
        return Err(SealedError::corrupt(0, "the header is cut off"));
    };
    if sha256(&[covered]) != checksum {
        return Err(SealedError::corrupt(
            0,
            "the checksum of the header does not match",
        ));
    }
    match version {
        0 => Err(SealedError::corrupt(0, "format version 0 does not exist")),
        FORMAT_VERSION => Ok((covered.get(FRONT..).unwrap_or_default(), total)),
        newer => Err(SealedError::NewerVersion {
            what: "format version",
            found: newer.into(),
        }),
    }
}

/// Makes the checksum right again after a test changed what it covers.
#[cfg(test)]
pub(super) fn repair(envelope: &mut [u8]) {
    let split = envelope.len() - CHECKSUM;
    let checksum = sha256(&[&envelope[..split]]);
    envelope[split..].copy_from_slice(&checksum);
}
