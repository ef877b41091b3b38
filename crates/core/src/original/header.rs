//! The clear header of a file of the original.

use std::collections::BTreeMap;

use crate::recovery::MAX_SHARES;

/// The longest header in bytes: 64 digits, `:true,` and quotes for each share, and some room.
pub const MAX_ORIGINAL_HEADER_BYTES: usize = 128 * MAX_SHARES;
/// Bytes of the shortest thing behind a header: nonce and tag.
const MIN_SEALED: usize = 12 + 16;

/// What stands in clear before a sealed state of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalHeader {
    share_hashes: Vec<[u8; 32]>,
    length: usize,
}

impl OriginalHeader {
    /// Reads the header at the front of a file; `None` for what is no file of the original.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let (length, rest) = file.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if length > MAX_ORIGINAL_HEADER_BYTES || rest.len() < length.checked_add(MIN_SEALED)? {
            return None;
        }
        let shares: Option<BTreeMap<String, bool>> = serde_json::from_slice(rest.get(..length)?).ok()?;
        let share_hashes = shares
            .unwrap_or_default()
            .keys()
            .map(|digits| {
                let mut hash = [0; 32];
                hex::decode_to_slice(digits, &mut hash).ok().map(|()| hash)
            })
            .collect::<Option<Vec<_>>>()?;
        let fits = share_hashes.len() != 1 && share_hashes.len() <= MAX_SHARES;
        fits.then_some(Self {
            share_hashes,
            length: length.checked_add(4)?,
        })
    }

    /// SHA-256 of each share, in no order that means anything; empty if the key is not shared.
    pub fn share_hashes(&self) -> &[[u8; 32]] {
        &self.share_hashes
    }

    /// Bytes from the front of the file to what is encrypted, without the nonce.
    pub(super) fn length(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, behind: usize) -> Vec<u8> {
        let mut file = u32::try_from(header.len()).unwrap().to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + behind, 0);
        file
    }

    #[test]
    fn headers_of_the_original() {
        let parsed = OriginalHeader::parse(&file("null", 28)).unwrap();
        assert_eq!((parsed.share_hashes().len(), parsed.length()), (0, 8));
        let (a, b) = ("ab".repeat(32), "cd".repeat(32));
        let parsed = OriginalHeader::parse(&file(&format!(r#"{{"{b}":true,"{a}":true}}"#), 28)).unwrap();
        assert_eq!(parsed.share_hashes(), [[0xab; 32], [0xcd; 32]]);
    }

    #[test]
    fn everything_else_is_none() {
        let a = "ab".repeat(32);
        for header in [
            "",
            "nul",
            "[]",
            "7",
            &format!(r#"{{"{a}":true}}"#),
            r#"{"ab":true,"cd":true}"#,
            &format!(r#"{{"{a}":1,"{a}":true}}"#),
        ] {
            assert_eq!(OriginalHeader::parse(&file(header, 28)), None, "{header}");
        }
        assert_eq!(OriginalHeader::parse(&file("null", 27)), None);
        assert_eq!(OriginalHeader::parse(b""), None);
        assert_eq!(
            OriginalHeader::parse(b"mrblseal and what follows, which is long"),
            None
        );
        assert_eq!(OriginalHeader::parse(&[0xff; 64]), None);
    }
}
