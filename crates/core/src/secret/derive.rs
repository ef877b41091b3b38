//! Secrets that are computed from the root secret instead of stored (`spec/02`).

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use uuid::Uuid;

use super::value::SecretBytes;

/// Longest key HKDF-SHA256 can derive, in bytes (RFC 5869 section 2.3).
pub const MAX_DERIVED: usize = 255 * 32;

/// Length of a virtual sealing key in bytes.
pub const SEALING_KEY: usize = 32;

/// A private symmetric key: the same marble gets the same key again after a restart, anywhere.
///
/// HKDF-SHA256 with the root secret as input, `uuid` (lower case, hyphenated) followed by the secret's name as
/// salt, and the marble type as info; `None` (`DisableSecretBinding`): empty info. `length` is in bytes, 1 to
/// [`MAX_DERIVED`] as definitions guarantee; what is longer is cut to that.
pub fn private_key(
    root_secret: &SecretBytes,
    uuid: Uuid,
    name: &str,
    marble_type: Option<&str>,
    length: usize,
) -> SecretBytes {
    let mut salt = uuid.hyphenated().to_string();
    salt.push_str(name);
    hkdf(
        root_secret,
        salt.as_bytes(),
        marble_type.unwrap_or_default().as_bytes(),
        length,
    )
}

/// The virtual sealing key of a marble: HKDF-SHA256 with the root secret as input, the 16 bytes of the UUID as
/// salt and empty info; [`SEALING_KEY`] bytes.
pub fn sealing_key(root_secret: &SecretBytes, uuid: Uuid) -> SecretBytes {
    hkdf(root_secret, uuid.as_bytes(), b"", SEALING_KEY)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf(input: &SecretBytes, salt: &[u8], info: &[u8], length: usize) -> SecretBytes {
    let length = length.min(MAX_DERIVED);
    let key = Salt::new(HKDF_SHA256, salt).extract(input.expose());
    SecretBytes::fill_with(length, |out| {
        #[expect(
            clippy::expect_used,
            reason = "HKDF fails for lengths above MAX_DERIVED alone; zeros must never pass as a key"
        )]
        key.expand(&[info], Length(length))
            .and_then(|okm| okm.fill(out))
            .expect("HKDF of a permitted length");
    })
}
