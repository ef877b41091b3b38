//! Collecting recovery secrets until they open a state (`spec/06`, "Recovering").

use super::scheme::RecoveryScheme;
use super::{shamir, xor};
use crate::refusal::{Refusal, RefusalKind};
use crate::sealed::{DataKey, Header};
use crate::secret::value::SecretBytes;

/// The longest signature that is kept, in bytes: that of an RSA key of 8192 bits.
const MAX_SIGNATURE: usize = 1024;

/// Whether a recovery secret of this length is plain; anything else is encrypted for the Coordinator's
/// ephemeral key. A plain one is a data key or a share of one, and Shamir shares have one byte more.
pub fn is_plain_length(length: usize) -> bool {
    matches!(length, 16 | 17 | 32 | 33)
}

/// What is known of a state that does not open: the clear part of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// A state in our format.
    Ours(Box<Header>),
}

/// One recovery: everything that was handed in for it. It is wiped with this value.
pub struct Recovery {
    lock: Lock,
    collected: Vec<Collected>,
}

/// A recovery secret with the signature that came with it.
#[derive(Clone)]
pub struct Collected {
    /// The data key, or a share of it.
    pub secret: SecretBytes,
    /// By a recovery key over the secret: PKCS#1 v1.5 with SHA-256. Not checked yet: only the state says by which
    /// keys.
    pub signature: Vec<u8>,
}

/// How far a recovery has come.
pub enum Progress {
    /// More secrets are needed; of all there are, this many were not handed in yet.
    Wanting {
        /// At least one.
        remaining: usize,
    },
    /// This should be the data key: open the state with it, then check it with [`crate::flow::recover::check`].
    Complete(DataKey),
}

impl Recovery {
    /// A recovery nothing was handed in for.
    pub fn new(lock: Lock) -> Self {
        Self {
            lock,
            collected: Vec::new(),
        }
    }

    /// Takes a plain recovery secret and its signature.
    ///
    /// What is no secret of this state, or was handed in before, is told by its hash and refused at once; what
    /// was collected stays.
    ///
    /// # Errors
    /// `Denied` for such a secret, or for a state that cannot be recovered; `Internal`.
    pub fn collect(&mut self, secret: SecretBytes, signature: &[u8]) -> Result<Progress, Refusal> {
        if signature.len() > MAX_SIGNATURE {
            return Err(denied(format!(
                "the signature has {} bytes, expected at most {MAX_SIGNATURE}",
                signature.len()
            )));
        }
        let collected = Collected {
            secret,
            signature: signature.to_vec(),
        };
        let Lock::Ours(header) = &self.lock;
        let plan = &header.recovery;
        match plan.scheme() {
            RecoveryScheme::None => {
                return Err(denied(
                    "this state has no recovery keys: it cannot be recovered, only given up by setting a new \
                     manifest",
                ));
            }
            RecoveryScheme::Single => {
                let key = DataKey::from_bytes(collected.secret.clone())
                    .filter(|key| header.check_key(key).is_ok())
                    .ok_or_else(|| {
                        denied("setting recovery key: this is not the recovery secret of the state")
                    })?;
                self.collected = vec![collected];
                return Ok(Progress::Complete(key));
            }
            RecoveryScheme::Xor | RecoveryScheme::Shamir => {}
        }
        if plan.find_share(collected.secret.expose()).is_none() {
            return Err(denied(
                "setting recovery key: this is not a recovery secret of the state",
            ));
        }
        if self
            .collected
            .iter()
            .any(|known| known.secret == collected.secret)
        {
            return Err(denied(
                "setting recovery key: this recovery secret was used already",
            ));
        }
        self.collected.push(collected);
        let (shares, threshold, scheme) = (plan.shares(), plan.threshold(), plan.scheme());
        if self.collected.len() < threshold {
            let remaining = shares.saturating_sub(self.collected.len());
            return Ok(Progress::Wanting { remaining });
        }
        let key = self.combine(scheme);
        if key.is_none() {
            self.forget();
        }
        key.map(Progress::Complete).ok_or_else(|| {
            denied("the recovery secrets do not make a key; all of them have to be handed in again")
        })
    }

    /// What was handed in so far.
    pub fn collected(&self) -> &[Collected] {
        &self.collected
    }

    /// Drops what was handed in: all of it has to come again.
    pub fn forget(&mut self) {
        self.collected = Vec::new();
    }

    fn combine(&self, scheme: RecoveryScheme) -> Option<DataKey> {
        let shares: Vec<_> = self.collected.iter().map(|known| known.secret.clone()).collect();
        let key = match scheme {
            RecoveryScheme::Xor => xor::combine(&shares),
            _ => shamir::combine(&shares),
        };
        key.ok().and_then(DataKey::from_bytes)
    }
}

fn denied(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Denied, message)
}
