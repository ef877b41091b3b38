//! The certificate table that a host may put behind a report (GHCB specification, section 4.1.8.1): entries of GUID,
//! offset and length, ended by a zero entry, then the certificates. Guests ask for it in whole pages, and Linux cuts off
//! what is behind the last certificate, so that there may be padding, between certificates too; it is zero.

use std::ops::Range;

use crate::layout::Layout;
use crate::reason::Reason;

/// GUIDs as they lie in memory: the first three groups little-endian.
const VCEK: [u8; 16] = *b"\x8d\x75\xda\x63\x64\xe6\x64\x45\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const VLEK: [u8; 16] = *b"\xc2\x4b\x07\xa8\x5a\xa2\x3e\x48\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1";
const ASK: [u8; 16] = *b"\x79\xb3\xb7\x4a\xac\xbb\xe4\x4f\xa0\x2f\x05\xae\xf3\x27\xc7\x82";
const ARK: [u8; 16] = *b"\xa4\x06\xb4\xc0\x03\xa8\x52\x49\x97\x43\x3f\xb6\x01\x4c\xd0\xae";

/// Size of an entry, in bytes.
const ENTRY_SIZE: usize = 24;
/// Most entries; there are five kinds of certificate.
const LIMIT: usize = 16;

/// Certificates of the table, DER, unverified.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table<'e> {
    pub(crate) vcek: Option<&'e [u8]>,
    pub(crate) vlek: Option<&'e [u8]>,
    /// The intermediate, ASK or ASVK.
    pub(crate) intermediate: Option<&'e [u8]>,
    pub(crate) ark: Option<&'e [u8]>,
}

impl<'e> Table<'e> {
    /// Reads the table; nothing but zero bytes is no table. Entries of other kinds are passed over, with what they name.
    pub(crate) fn read(bytes: &'e [u8]) -> Result<Self, Reason> {
        let mut table = Self::default();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(table);
        }
        let mut entries = Layout::new("certificate table", bytes);
        let mut named = Vec::with_capacity(LIMIT);
        for number in 1..=LIMIT {
            let id: [u8; 16] = *entries.bytes()?;
            let (offset, length) = (entries.u32()? as usize, entries.u32()? as usize);
            if id == [0; 16] {
                named.push(0..number * ENTRY_SIZE);
                nothing_else(bytes, &named)?;
                return Ok(table);
            }
            named.push(offset..offset.saturating_add(length));
            let place = match id {
                VCEK => &mut table.vcek,
                VLEK => &mut table.vlek,
                ASK => &mut table.intermediate,
                ARK => &mut table.ark,
                _ => continue,
            };
            let certificate = offset
                .checked_add(length)
                .and_then(|end| bytes.get(offset..end))
                .ok_or_else(|| Reason::CertificateTable {
                    why: format!(
                        "expected a certificate within {} bytes, found {length} bytes at {offset}",
                        bytes.len()
                    ),
                })?;
            if place.replace(certificate).is_some() {
                return Err(Reason::CertificateTable {
                    why: "expected each certificate once, found one twice".to_owned(),
                });
            }
        }
        Err(Reason::CertificateTable {
            why: format!("expected at most {LIMIT} entries, found more"),
        })
    }
}

/// Whether all bytes that are in none of the ranges are zero.
fn nothing_else(bytes: &[u8], named: &[Range<usize>]) -> Result<(), Reason> {
    let mut ranges = named.to_vec();
    ranges.sort_by_key(|range| range.start);
    let (mut end, mut found, mut first) = (0, 0, None);
    let last = bytes.len()..bytes.len();
    for range in ranges.into_iter().chain([last]) {
        let gap = bytes.get(end..range.start).unwrap_or_default();
        let other = |byte: &&u8| **byte != 0;
        found += gap.iter().filter(other).count();
        first = first.or_else(|| Some(end + gap.iter().position(|byte| *byte != 0)?));
        end = end.max(range.end);
    }
    match first {
        Some(at) => Err(Reason::BytesInNoCertificate { found, at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: [u8; 16], offset: u32, length: u32) -> Vec<u8> {
        [&id[..], &offset.to_le_bytes(), &length.to_le_bytes()].concat()
    }

    #[test]
    fn certificates_are_found_by_guid() {
        let bytes = [
            entry(VCEK, 96, 2),
            entry([9; 16], u32::MAX, u32::MAX),
            entry(ASK, 98, 1),
            entry([0; 16], 0, 0),
            vec![1, 2, 3],
        ]
        .concat();
        let table = Table::read(&bytes).unwrap();
        assert_eq!(table.vcek, Some(&[1, 2][..]));
        assert_eq!(table.intermediate, Some(&[3][..]));
        assert_eq!((table.vlek, table.ark), (None, None));
        assert_eq!(Table::read(&[0; 100]), Ok(Table::default()));
        assert_eq!(Table::read(&[]), Ok(Table::default()));
    }

    #[test]
    fn padding_is_zero() {
        // At 98 the VCEK certificate, at 101 one of another kind, and padding before, between and behind them.
        let padded = |bytes: &[u8]| {
            let mut table = [entry(VCEK, 98, 1), entry([9; 16], 101, 2), entry([0; 16], 0, 0)].concat();
            table.resize(110, 0);
            for place in bytes {
                table[usize::from(*place)] = 7;
            }
            Table::read(&table).map(|table| table.vcek.map(<[u8]>::to_vec))
        };
        assert_eq!(padded(&[98, 101, 102]), Ok(Some(vec![7])));
        for (places, at, found) in [
            (&[97, 98][..], 97, 1),
            (&[99], 99, 1),
            (&[100, 103, 109], 100, 3),
            (&[103], 103, 1),
            (&[109], 109, 1),
            (&[72], 72, 1),
        ] {
            assert_eq!(
                padded(places),
                Err(Reason::BytesInNoCertificate { found, at }),
                "{places:?}"
            );
        }
        // Entries in any order, one within another, one beyond the end.
        let mut table = [
            entry([9; 16], 100, 8),
            entry(ARK, 96, 10),
            entry([8; 16], 108, u32::MAX),
            entry([0; 16], 0, 0),
        ]
        .concat();
        table.resize(120, 7);
        assert!(Table::read(&table).is_ok());
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        let beyond = [entry(VLEK, 48, 1), entry([0; 16], 0, 0)].concat();
        let overflow = [entry(ARK, u32::MAX, u32::MAX), entry([0; 16], 0, 0)].concat();
        let twice = [entry(ARK, 0, 1), entry(ARK, 0, 1), entry([0; 16], 0, 0)].concat();
        let endless = entry([9; 16], 0, 0).repeat(LIMIT + 1);
        for bytes in [beyond, overflow, twice, endless] {
            assert!(matches!(
                Table::read(&bytes),
                Err(Reason::CertificateTable { .. })
            ));
        }
        assert!(matches!(
            Table::read(&entry(VCEK, 0, 1)),
            Err(Reason::Length { .. })
        ));
    }
}
