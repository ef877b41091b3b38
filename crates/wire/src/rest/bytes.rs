//! Byte strings in JSON: base64 on the wire.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use zeroize::Zeroizing;

/// Standard alphabet, padding required, non-zero trailing bits accepted (`spec/01`).
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT_BITS);
/// The same with the URL-safe alphabet and optional padding, for nonces in queries.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    LENIENT_BITS.with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const LENIENT_BITS: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);

/// Not base64. Says where, never what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base64Error(String);

impl fmt::Display for Base64Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Base64Error {}

/// Bytes that are base64 on the wire: standard alphabet, padded.
///
/// On input CR and LF are skipped, non-zero trailing bits accepted, an array of integers 0..255 is taken too,
/// and `null` is the empty string of bytes. Where absent and empty differ, use `Option<Base64Bytes>`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Base64Bytes(pub Vec<u8>);

impl Base64Bytes {
    /// Decodes as described at the type.
    ///
    /// # Errors
    /// Names the position of the first character that is no base64.
    pub fn decode(text: &str) -> Result<Self, Base64Error> {
        decode(text).map(|bytes| Self(bytes.to_vec()))
    }

    /// Standard alphabet, padded, on one line.
    pub fn encode(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

impl From<Vec<u8>> for Base64Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Base64Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Base64Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Base64Bytes({})", self.encode())
    }
}

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(BytesVisitor)
            .map(|bytes| Self(bytes.to_vec()))
    }
}

/// Secret bytes that are base64 on the wire: as [`Base64Bytes`], but wiped when dropped and never printed.
///
/// Serialising writes the secret: only into a buffer made by [`super::to_secret_body`].
#[derive(Clone, Default)]
pub struct Base64Secret(Zeroizing<Vec<u8>>);

impl Base64Secret {
    /// Takes the bytes over without a copy.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// Decodes as described at [`Base64Bytes`].
    ///
    /// # Errors
    /// Names the position of the first character that is no base64.
    pub fn decode(text: &str) -> Result<Self, Base64Error> {
        decode(text).map(Self)
    }

    /// Standard alphabet, padded, on one line; in a buffer that is wiped.
    pub fn encode(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len().div_ceil(3).saturating_mul(4)));
        STANDARD.encode_string(&*self.0, &mut text);
        text
    }

    /// The bytes. Whoever copies them must wipe the copy.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, moved out.
    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl Serialize for Base64Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Base64Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor).map(Self)
    }
}

/// Reads the `nonce` of a query: base64 with the URL-safe alphabet, padding optional.
///
/// # Errors
/// Names the position of the first character that is no base64.
pub fn decode_nonce(text: &str) -> Result<Vec<u8>, Base64Error> {
    URL_SAFE
        .decode(text)
        .map_err(|error| Base64Error(format!("not URL-safe base64: {}", place(&error))))
}

/// Writes the `nonce` of a query: base64 with the URL-safe alphabet, padded.
pub fn encode_nonce(nonce: &[u8]) -> String {
    URL_SAFE.encode(nonce)
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, Base64Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len().div_ceil(4).saturating_mul(3)));
    let outcome = if text.bytes().any(is_line_break) {
        let mut compact = Zeroizing::new(Vec::with_capacity(text.len()));
        compact.extend(text.bytes().filter(|byte| !is_line_break(*byte)));
        STANDARD.decode_vec(&*compact, &mut bytes)
    } else {
        STANDARD.decode_vec(text, &mut bytes)
    };
    outcome.map_err(|error| {
        Base64Error(format!(
            "not base64 (standard alphabet, padded): {}",
            place(&error)
        ))
    })?;
    Ok(bytes)
}

fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// The error without the offending character, which may belong to a secret.
fn place(error: &base64::DecodeError) -> String {
    match error {
        base64::DecodeError::InvalidByte(offset, _) => format!("illegal character at offset {offset}"),
        base64::DecodeError::InvalidLength(length) => format!("length {length} is not possible"),
        base64::DecodeError::InvalidLastSymbol(offset, _) => {
            format!("illegal last character at offset {offset}")
        }
        base64::DecodeError::InvalidPadding => "padding is missing or wrong".to_owned(),
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Zeroizing<Vec<u8>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string in base64, an array of integers from 0 to 255, or null")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        decode(text).map_err(E::custom)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Self::Value::default())
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Self::Value::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(byte) = elements.next_element::<u8>()? {
            if bytes.len() == bytes.capacity() {
                // Grown by hand: what `push` leaves behind when it moves is not wiped.
                let mut larger = Zeroizing::new(Vec::with_capacity(bytes.len().saturating_mul(2).max(64)));
                larger.extend_from_slice(&bytes);
                bytes = larger;
            }
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_existing_clients_send() {
        for (text, expected) in [
            ("", &b""[..]),
            ("aGVsbG8=", b"hello"),
            ("aGVs\r\nbG8=\n", b"hello"),
            ("aGVsbG9=", b"hello"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(Base64Bytes::decode(text).unwrap().0, expected, "{text:?}");
            assert_eq!(Base64Secret::decode(text).unwrap().expose(), expected, "{text:?}");
        }
    }

    #[test]
    fn refuses_and_never_quotes() {
        for (text, part) in [
            ("aGVsbG8", "padding"),
            ("aGVs bG8=", "offset 4"),
            ("-_-_", "offset 0"),
            ("aGVsbG8=aGVsbG8=", "offset 7"),
            ("a===", "offset"),
        ] {
            let error = Base64Bytes::decode(text).unwrap_err().to_string();
            assert!(error.contains("standard alphabet, padded"), "{error}");
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn json_forms() {
        let read = |json: &str| serde_json::from_str::<Base64Bytes>(json);
        assert_eq!(read("null").unwrap().0, b"");
        assert_eq!(read("[104, 105]").unwrap().0, b"hi");
        assert_eq!(read(r#""aGk=""#).unwrap().0, b"hi");
        assert!(read("[256]").is_err());
        assert!(
            read("true")
                .unwrap_err()
                .to_string()
                .contains("a string in base64")
        );
        let long = format!("[{}7]", "1,".repeat(1000));
        assert_eq!(read(&long).unwrap().0.len(), 1001);
        assert_eq!(
            serde_json::to_string(&Base64Bytes(vec![0xfb, 0xff])).unwrap(),
            r#""+/8=""#
        );
        assert_eq!(serde_json::from_str::<Option<Base64Bytes>>("null").unwrap(), None);
    }

    #[test]
    fn secrets_round_trip() {
        let secret = Base64Secret::new(Zeroizing::new(vec![1, 2, 3, 4]));
        assert_eq!(*secret.encode(), "AQIDBA==");
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(
            serde_json::from_str::<Base64Secret>(&json)
                .unwrap()
                .into_inner()
                .as_slice(),
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn nonces() {
        assert_eq!(decode_nonce("bm9uY2U=").unwrap(), b"nonce");
        assert_eq!(decode_nonce("bm9uY2U").unwrap(), b"nonce");
        assert_eq!(decode_nonce("-_8=").unwrap(), [0xfb, 0xff]);
        assert_eq!(encode_nonce(&[0xfb, 0xff]), "-_8=");
        assert!(decode_nonce("!!").unwrap_err().to_string().contains("offset 0"));
        assert!(decode_nonce("+/8=").is_err());
    }
}
