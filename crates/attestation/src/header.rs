//! The Open Enclave header: 16 bytes in front of an SGX quote, little-endian: u32 version 1, u32 type 2
//! (SGX, ECDSA), u64 length of what follows. Existing clients and Coordinators take SGX quotes in no other form
//! (spec/08).

/// The header itself. It holds nothing but the length of what follows, so it is only ever put on and taken off.
#[derive(Debug)]
pub struct OpenEnclaveHeader;

/// Size of the header, in bytes.
pub const HEADER_SIZE: usize = 16;

const VERSION_AND_TYPE: [u8; 8] = [1, 0, 0, 0, 2, 0, 0, 0];

/// A header whose length is not that of the bytes behind it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Open Enclave header: expected {announced} bytes behind it, as it announces, found {found}")]
pub struct WrongLength {
    /// Length the header gives, in bytes.
    pub announced: u64,
    /// Length of what follows, in bytes.
    pub found: usize,
}

impl OpenEnclaveHeader {
    /// The header, then `sgx_quote`.
    pub fn add(sgx_quote: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_SIZE + sgx_quote.len());
        bytes.extend_from_slice(&VERSION_AND_TYPE);
        bytes.extend_from_slice(&(sgx_quote.len() as u64).to_le_bytes());
        bytes.extend_from_slice(sgx_quote);
        bytes
    }

    /// What follows the header; `None` when `bytes` do not begin with one (no bare evidence of any kind begins like
    /// it).
    ///
    /// # Errors
    /// The length in the header is not that of what follows.
    pub fn strip(bytes: &[u8]) -> Result<Option<&[u8]>, WrongLength> {
        let Some((length, evidence)) = bytes
            .strip_prefix(&VERSION_AND_TYPE)
            .and_then(<[u8]>::split_first_chunk::<8>)
        else {
            return Ok(None);
        };
        let announced = u64::from_le_bytes(*length);
        if announced != evidence.len() as u64 {
            return Err(WrongLength {
                announced,
                found: evidence.len(),
            });
        }
        Ok(Some(evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn put_on_it_is_the_bytes_of_the_contract() {
        assert_eq!(
            OpenEnclaveHeader::add(&[7, 8, 9]),
            [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9]
        );
    }

    #[test]
    fn taken_off_it_leaves_the_evidence() {
        assert_eq!(
            OpenEnclaveHeader::strip(&OpenEnclaveHeader::add(&[7, 8])),
            Ok(Some(&[7, 8][..]))
        );
        assert_eq!(OpenEnclaveHeader::strip(&[3, 0, 2, 0]), Ok(None));
        assert_eq!(OpenEnclaveHeader::strip(&[]), Ok(None));
    }

    #[test]
    fn a_wrong_length_is_refused() {
        let mut bytes = OpenEnclaveHeader::add(&[7, 8]);
        bytes.push(9);
        assert_eq!(
            OpenEnclaveHeader::strip(&bytes),
            Err(WrongLength {
                announced: 2,
                found: 3
            })
        );
        bytes.truncate(17);
        assert_eq!(
            OpenEnclaveHeader::strip(&bytes),
            Err(WrongLength {
                announced: 2,
                found: 1
            })
        );
    }
}
