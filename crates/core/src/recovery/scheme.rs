//! Which scheme a state is recovered with; what of that stands in clear beside it.

use crate::sealed::sha256;

/// The most recovery shares a state can have; Shamir's scheme has at most 255.
pub const MAX_SHARES: usize = 4096;

/// How the data key is shared among the recovery keys of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecoveryScheme {
    /// No recovery key: nothing can be recovered.
    None,
    /// One key: its secret is the data key.
    Single,
    /// All shares are needed: their XOR is the data key.
    Xor,
    /// A threshold of shares is needed: Shamir's scheme over GF(2^8).
    Shamir,
}

/// How a state can be recovered: scheme, numbers, and the SHA-256 of each share in the order of the names of
/// the manifest's recovery keys. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryPlan {
    scheme: RecoveryScheme,
    threshold: usize,
    share_hashes: Vec<[u8; 32]>,
}

impl RecoveryPlan {
    /// The plan of a manifest without recovery keys.
    pub const fn none() -> Self {
        Self {
            scheme: RecoveryScheme::None,
            threshold: 0,
            share_hashes: Vec::new(),
        }
    }

    /// A plan from its parts; `None` if they do not fit each other: none has no share, single has one, XOR two
    /// or more and needs all, Shamir up to 255 and needs at least two but not all.
    pub fn from_parts(scheme: RecoveryScheme, threshold: usize, share_hashes: Vec<[u8; 32]>) -> Option<Self> {
        let shares = share_hashes.len();
        let fits = match scheme {
            RecoveryScheme::None => shares == 0 && threshold == 0,
            RecoveryScheme::Single => shares == 1 && threshold == 1,
            RecoveryScheme::Xor => (2..=MAX_SHARES).contains(&shares) && threshold == shares,
            RecoveryScheme::Shamir => shares <= 255 && (2..shares).contains(&threshold),
        };
        fits.then_some(Self {
            scheme,
            threshold,
            share_hashes,
        })
    }

    /// The scheme.
    pub fn scheme(&self) -> RecoveryScheme {
        self.scheme
    }

    /// How many shares are needed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// How many shares there are.
    pub fn shares(&self) -> usize {
        self.share_hashes.len()
    }

    /// SHA-256 of each share.
    pub fn share_hashes(&self) -> &[[u8; 32]] {
        &self.share_hashes
    }

    /// Which of the shares this is, counted from 0; `None` for what is no share of this state.
    pub fn find_share(&self, share: &[u8]) -> Option<usize> {
        let hash = sha256(&[share]);
        self.share_hashes.iter().position(|known| *known == hash)
    }
}

impl RecoveryPlan {
    /// The same plan with its hashes in this order.
    pub(crate) fn reordered(self, share_hashes: Vec<[u8; 32]>) -> Self {
        debug_assert_eq!(share_hashes.len(), self.share_hashes.len());
        Self { share_hashes, ..self }
    }
}

/// What a manifest with so many recovery keys and this `RecoveryThreshold` (0: all) prescribes: the scheme, and
/// how many secrets are needed; `None` if they do not fit each other.
pub fn prescribed(keys: usize, threshold: usize) -> Option<(RecoveryScheme, usize)> {
    let all_needed = threshold == 0 || threshold == keys;
    match keys {
        _ if threshold == 1 || threshold > keys => None,
        0 => Some((RecoveryScheme::None, 0)),
        1 => Some((RecoveryScheme::Single, 1)),
        2..=MAX_SHARES if all_needed => Some((RecoveryScheme::Xor, keys)),
        2..=255 => Some((RecoveryScheme::Shamir, threshold)),
        _ => None,
    }
}

/// Why shares do not make a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// At least two shares are needed.
    #[error("at least two shares are needed")]
    TooFew,
    /// A share is shorter or longer than the others or than any share can be; counted from 0.
    #[error("share {index} has the wrong length")]
    WrongLength {
        /// Which of the shares given.
        index: usize,
    },
    /// Two shares have the same x coordinate, or one has the x coordinate 0; counted from 0.
    #[error("share {index} has an x coordinate that is repeated or 0")]
    BadCoordinate {
        /// Which of the shares given.
        index: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_fit_their_scheme() {
        let fits = |scheme, threshold, shares| {
            RecoveryPlan::from_parts(scheme, threshold, vec![[0; 32]; shares]).is_some()
        };
        use RecoveryScheme::{None, Shamir, Single, Xor};
        for (scheme, threshold, shares) in [
            (None, 0, 0),
            (Single, 1, 1),
            (Xor, 2, 2),
            (Xor, 4096, 4096),
            (Shamir, 2, 3),
            (Shamir, 254, 255),
        ] {
            assert!(
                fits(scheme, threshold, shares),
                "{scheme:?} {threshold} of {shares}"
            );
        }
        for (scheme, threshold, shares) in [
            (None, 0, 1),
            (None, 1, 0),
            (Single, 0, 1),
            (Single, 1, 2),
            (Xor, 1, 1),
            (Xor, 2, 3),
            (Xor, 4097, 4097),
            (Shamir, 1, 3),
            (Shamir, 3, 3),
            (Shamir, 2, 256),
        ] {
            assert!(
                !fits(scheme, threshold, shares),
                "{scheme:?} {threshold} of {shares}"
            );
        }
    }

    #[test]
    fn manifests_prescribe_their_scheme() {
        use RecoveryScheme::{None as NoScheme, Shamir, Single, Xor};
        for (keys, threshold, expected) in [
            (0, 0, Some((NoScheme, 0))),
            (1, 0, Some((Single, 1))),
            (2, 0, Some((Xor, 2))),
            (2, 2, Some((Xor, 2))),
            (3, 2, Some((Shamir, 2))),
            (255, 254, Some((Shamir, 254))),
            (4096, 0, Some((Xor, 4096))),
            (0, 1, None),
            (1, 1, None),
            (3, 1, None),
            (3, 4, None),
            (256, 2, None),
            (4097, 0, None),
        ] {
            assert_eq!(prescribed(keys, threshold), expected, "{threshold} of {keys}");
        }
    }

    #[test]
    fn shares_are_found_by_their_hash() {
        let plan =
            RecoveryPlan::from_parts(RecoveryScheme::Xor, 2, vec![sha256(&[b"a"]), sha256(&[b"b"])]).unwrap();
        assert_eq!(plan.find_share(b"b"), Some(1));
        assert_eq!(plan.find_share(b"c"), Option::None);
    }
}
