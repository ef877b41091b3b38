//! The sealed state of the system this one replaces: read so that a deployment can move over, and written so that it
//! can move back (`docs/migration.md`).
//!
//! The file is `u32 LE length ‖ header ‖ nonce (12) ‖ AES-GCM`. The header is JSON in clear: `null`, or an object
//! whose names are the SHA-256 of the recovery shares. What is encrypted is a JSON object of base64 values.
//!
//! Nothing here says that somebody may open a state: that is for [`crate::flow::recover::check`].

mod content;
mod entries;
mod export;
mod header;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

pub use export::{ExportError, export};
pub use header::{MAX_ORIGINAL_HEADER_BYTES, OriginalHeader};

use crate::ambient::CryptoFault;
use crate::recovery::RecoveryPlan;
use crate::sealed::{DataKey, SealedError, StateCipher};
use crate::state::State;

/// Bytes of the nonce.
const NONCE: usize = 12;

/// Opens a file of the original with its data key. `plan` is how the key was recovered; it becomes that of the state.
///
/// # Errors
/// [`SealedError::NotOurs`] for another file, [`SealedError::WrongKey`] if the key does not open it (or the file is
/// damaged: the format cannot tell), [`SealedError::Original`] for content that is no state.
pub fn open(file: &[u8], key: &DataKey, plan: RecoveryPlan) -> Result<State, SealedError> {
    let header = OriginalHeader::parse(file).ok_or(SealedError::NotOurs {
        expected: "a header of the original",
    })?;
    let (nonce, sealed) = file
        .get(header.length()..)
        .and_then(|rest| rest.split_first_chunk::<NONCE>())
        .ok_or(SealedError::WrongKey)?;
    let opener = UnboundKey::new(algorithm(key.cipher()), key.bytes().expose())
        .map(LessSafeKey::new)
        .map_err(|_| CryptoFault::in_operation("make an AES-GCM key"))?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = opener
        .open_in_place(nonce, Aad::empty(), &mut plain)
        .map_err(|_| SealedError::WrongKey)?;
    content::read(plain, key, plan)
}

fn algorithm(cipher: StateCipher) -> &'static Algorithm {
    match cipher {
        StateCipher::Aes128Gcm => &AES_128_GCM,
        StateCipher::Aes256Gcm => &AES_256_GCM,
    }
}
