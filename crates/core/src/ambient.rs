//! Time and randomness, handed in from outside.
//!
//! Rules take both as arguments, so that the same request on the same state can be decided again in a test, in
//! a simulation or on another Coordinator.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::pki::key::{KeyKind, PrivateKey, SignatureHash};

/// What a flow may know of the world outside the state.
#[derive(Clone, Copy)]
pub struct Ambient<'a> {
    /// The time at which the flow runs.
    pub now: Timestamp,
    /// The only source of randomness and of anything that depends on it.
    pub dice: &'a dyn Dice,
}

/// Randomness, and the operations of the crypto provider that need it.
///
/// The shell implements it with the provider, which cannot be seeded; tests implement it with seeded bytes and
/// a pool of ready keys.
pub trait Dice: Send + Sync {
    /// Fills `out` with cryptographically secure random bytes.
    fn fill(&self, out: &mut [u8]);

    /// A fresh private key.
    ///
    /// RSA keys take from tenths of a second (2048 bits) to several seconds (8192 bits): not for async threads.
    ///
    /// # Errors
    /// [`CryptoFault`] if the provider fails.
    fn generate_key(&self, kind: KeyKind) -> Result<PrivateKey, CryptoFault>;

    /// A signature over `message`: ECDSA in ASN.1 DER, RSA PKCS#1 v1.5, or Ed25519 (where `hash` is not looked at).
    ///
    /// # Errors
    /// [`CryptoFault`] if the key cannot make such a signature or the provider fails.
    fn sign(&self, key: &PrivateKey, hash: SignatureHash, message: &[u8]) -> Result<Vec<u8>, CryptoFault>;

    /// `plaintext` encrypted with RSA-OAEP (SHA-256 for hash and mask, no label) for a PKIX public key.
    ///
    /// # Errors
    /// [`CryptoFault`] if the key is not RSA, is of a size the provider does not take, or is too small.
    fn encrypt_oaep_sha256(&self, public_key_pkix: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoFault>;
}

/// The crypto provider refused or failed. Carries which operation, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the crypto provider failed: {operation}")]
pub struct CryptoFault {
    /// The operation that failed, for the log.
    pub operation: &'static str,
}

impl CryptoFault {
    /// A fault in the named operation.
    pub const fn in_operation(operation: &'static str) -> Self {
        Self { operation }
    }
}

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Years 1 to 9999: what X.509 and RFC 3339 can both write.
    const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

    /// From milliseconds since the epoch; values outside the years 1 to 9999 are moved to the nearest end.
    pub const fn from_unix_millis(millis: i64) -> Self {
        let (start, end) = (*Self::RANGE.start(), *Self::RANGE.end());
        Self(if millis < start {
            start
        } else if millis > end {
            end
        } else {
            millis
        })
    }

    /// From seconds since the epoch.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self::from_unix_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time moved by `seconds`, within the years 1 to 9999.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_unix_millis(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Parses an RFC 3339 date and time.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = i64::try_from(parsed.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?;
        Self::RANGE.contains(&millis).then_some(Self(millis))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-21T08:42:31.650Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp(self.unix_seconds()).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            self.0.rem_euclid(1000)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_in_rfc3339() {
        let time = Timestamp::from_unix_millis(1_795_250_551_650);
        assert_eq!(time.to_string(), "2026-11-21T08:42:31.650Z");
        assert_eq!(
            Timestamp::parse_rfc3339("2026-11-21T09:42:31.65+01:00"),
            Some(time)
        );
        assert_eq!(
            Timestamp::from_unix_millis(-1).to_string(),
            "1969-12-31T23:59:59.999Z"
        );
        assert_eq!(
            Timestamp::from_unix_millis(i64::MAX).to_string(),
            "9999-12-31T23:59:59.999Z"
        );
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }
}
