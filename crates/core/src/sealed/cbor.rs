//! Deterministic CBOR (RFC 8949 section 4.2): definite lengths, shortest numbers, keys in ascending order.

use std::convert::Infallible;

use minicbor::data::Type;
use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Error, Write};

use super::SealedError;

/// The answer of everything that encodes.
pub(super) type Encoded<W> = Result<(), Error<<W as Write>::Error>>;

/// Something with one encoding.
pub(super) trait Encode {
    /// Writes the encoding: the same bytes each time.
    fn encode<W: Write>(&self, to: &mut Encoder<W>) -> Encoded<W>;

    /// Length of the encoding in bytes.
    fn encoded_length(&self) -> usize {
        let mut encoder = Encoder::new(Counter(0));
        // Counting refuses nothing.
        let _ = self.encode(&mut encoder);
        encoder.into_writer().0
    }

    /// Writes the encoding into exactly as many bytes as it has. Nothing is written anywhere else, so that
    /// whoever wipes `out` has wiped all of it.
    fn encode_into(&self, out: &mut [u8]) -> Result<(), SealedError> {
        let mut encoder = Encoder::new(out);
        match self.encode(&mut encoder) {
            Ok(()) if encoder.writer().is_empty() => Ok(()),
            _ => Err(SealedError::Encoding),
        }
    }
}

/// Counts bytes.
struct Counter(usize);

impl Write for Counter {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// Why bytes are not the encoding that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not CBOR, or not of the expected shape.
    Malformed(&'static str),
    /// A key or tag that is not known.
    Newer { what: &'static str, found: u64 },
    /// The manifest does not compile.
    Manifest(String),
}

impl From<minicbor::decode::Error> for Fault {
    fn from(_: minicbor::decode::Error) -> Self {
        // What the library says may quote the input.
        Self::Malformed("its content is not the CBOR that was expected")
    }
}

impl Fault {
    /// The error for a file, at the offset of the frame the content comes from.
    pub(super) fn at(self, offset: u64) -> SealedError {
        match self {
            Self::Malformed(problem) => SealedError::Corrupt { offset, problem },
            Self::Newer { what, found } => SealedError::NewerVersion { what, found },
            Self::Manifest(reason) => SealedError::Manifest { offset, reason },
        }
    }
}

/// Reads a map with ascending keys. `field` reads the value of a key it knows, or answers `false`: a key this
/// version does not know is never skipped.
pub(super) fn read_map<'b>(
    from: &mut Decoder<'b>,
    what: &'static str,
    mut field: impl FnMut(u64, &mut Decoder<'b>) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let count = from
        .map()?
        .ok_or(Fault::Malformed("a map has no definite length"))?;
    let mut last = None;
    for _ in 0..count {
        let key = from.u64()?;
        if last.is_some_and(|last| key <= last) {
            return Err(Fault::Malformed("the keys of a map are not in ascending order"));
        }
        last = Some(key);
        if !field(key, from)? {
            return Err(Fault::Newer { what, found: key });
        }
    }
    Ok(())
}

/// Reads an array of any length, an item at a time. No room is made for items that are not there.
pub(super) fn read_list<'b>(
    from: &mut Decoder<'b>,
    mut item: impl FnMut(&mut Decoder<'b>) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let count = from
        .array()?
        .ok_or(Fault::Malformed("an array has no definite length"))?;
    for _ in 0..count {
        item(from)?;
    }
    Ok(count)
}

/// Reads the head of an array that must have `length` items.
pub(super) fn read_tuple(from: &mut Decoder<'_>, length: u64) -> Result<(), Fault> {
    if from.array()? == Some(length) {
        Ok(())
    } else {
        Err(Fault::Malformed("an array has not the length that was expected"))
    }
}

/// Reads an item that may be null.
pub(super) fn read_optional<'b, T>(
    from: &mut Decoder<'b>,
    item: impl FnOnce(&mut Decoder<'b>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    if from.datatype()? == Type::Null {
        from.null()?;
        return Ok(None);
    }
    item(from).map(Some)
}

/// Whether all of the input was read.
pub(super) fn read_end(from: &Decoder<'_>) -> Result<(), Fault> {
    if from.position() == from.input().len() {
        Ok(())
    } else {
        Err(Fault::Malformed("bytes follow its content"))
    }
}

/// The value of a key that must be there.
pub(super) fn required<T>(value: Option<T>) -> Result<T, Fault> {
    value.ok_or(Fault::Malformed("a field is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_in_order_and_to_the_last_key() {
        let read = |bytes: &[u8]| {
            read_map(&mut Decoder::new(bytes), "test key", |key, from| {
                from.u8()?;
                Ok(key < 3)
            })
        };
        assert_eq!(read(&[0xa2, 0x01, 0x00, 0x02, 0x00]), Ok(()));
        let newer = Fault::Newer {
            what: "test key",
            found: 7,
        };
        assert_eq!(read(&[0xa2, 0x01, 0x00, 0x07, 0x00]), Err(newer));
        for wrong in [
            &[0xa2, 0x02, 0x00, 0x01, 0x00][..],
            &[0xa2, 0x01, 0x00, 0x01, 0x00],
            &[0xbf, 0x01, 0x00, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x80],
            &[],
        ] {
            assert!(matches!(read(wrong), Err(Fault::Malformed(_))), "{wrong:x?}");
        }
    }

    #[test]
    fn lists_say_how_long_they_are_and_end() {
        let read = |bytes: &[u8]| {
            let mut from = Decoder::new(bytes);
            let count = read_list(&mut from, |from| Ok(from.u8().map(|_| ())?))?;
            read_end(&from)?;
            Ok(count)
        };
        assert_eq!(read(&[0x82, 0x01, 0x02]), Ok(2));
        for wrong in [
            &[0x82, 0x01][..],
            &[0x81, 0x01, 0x02],
            &[0x9f, 0x01, 0xff],
            &[0x9a, 0xff, 0, 0, 0],
        ] {
            assert!(matches!(read(wrong), Err(Fault::Malformed(_))), "{wrong:x?}");
        }
    }
}
