//! The certificate table that a host may put behind a report (GHCB specification, section 4.1.8.1): entries of GUID,
//! offset and length, ended by a zero entry, then the certificates.

use crate::layout::Layout;
use crate::reason::Reason;

/// GUIDs as they lie in memory: the first three groups little-endian.
const VCEK: [u8; 16] = *b"\x8d\x75\xda\x63\x64\xe6\x64\x45\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const VLEK: [u8; 16] = *b"\xc2\x4b\x07\xa8\x5a\xa2\x3e\x48\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1";
const ASK: [u8; 16] = *b"\x79\xb3\xb7\x4a\xac\xbb\xe4\x4f\xa0\x2f\x05\xae\xf3\x27\xc7\x82";
const ARK: [u8; 16] = *b"\xa4\x06\xb4\xc0\x03\xa8\x52\x49\x97\x43\x3f\xb6\x01\x4c\xd0\xae";

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
    /// Reads the table; nothing but zero bytes is no table. Entries of other kinds are passed over.
    pub(crate) fn read(bytes: &'e [u8]) -> Result<Self, Reason> {
        let mut table = Self::default();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(table);
        }
        let mut entries = Layout::new("certificate table", bytes);
        for _ in 0..LIMIT {
            let id: [u8; 16] = *entries.bytes()?;
            let (offset, length) = (entries.u32()? as usize, entries.u32()? as usize);
            if id == [0; 16] {
                return Ok(table);
            }
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
