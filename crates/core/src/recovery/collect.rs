//! Collecting recovery secrets until they open a state (`spec/06`, "Recovering").

use super::scheme::{RecoveryPlan, RecoveryScheme};
use super::{shamir, xor};
use crate::original::OriginalHeader;
use crate::refusal::{Refusal, RefusalKind};
use crate::sealed::{DataKey, Header, sha256};
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
    /// A state of the original. Its header says neither the threshold nor a commitment to the key.
    Original(OriginalHeader),
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
    Complete(RecoveredKey),
}

/// A data key that was put together, and out of what.
pub struct RecoveredKey {
    /// The key.
    pub key: DataKey,
    /// How it was recovered. For a state of the original the order of the shares means nothing.
    pub plan: RecoveryPlan,
    /// The secrets it was made of.
    pub collected: Vec<Collected>,
    /// If it does not open the state: how many other secrets there are, as more may be needed. 0: what was handed in
    /// is wrong.
    pub remaining: usize,
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
        match self.lock.clone() {
            Lock::Ours(header) => self.collect_ours(&header, collected),
            Lock::Original(header) if header.share_hashes().is_empty() => self.collect_only(collected),
            Lock::Original(header) => self.collect_original(&header, collected),
        }
    }

    fn collect_ours(&mut self, header: &Header, collected: Collected) -> Result<Progress, Refusal> {
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
                return Ok(self.complete(key, plan.clone(), 0));
            }
            RecoveryScheme::Xor | RecoveryScheme::Shamir => {}
        }
        self.add(plan.share_hashes(), collected)?;
        let (shares, threshold, scheme) = (plan.shares(), plan.threshold(), plan.scheme());
        if self.collected.len() < threshold {
            let remaining = shares.saturating_sub(self.collected.len());
            return Ok(Progress::Wanting { remaining });
        }
        match self.combine(scheme) {
            Some(key) => Ok(self.complete(key, plan.clone(), 0)),
            None => Err(self.no_key()),
        }
    }

    /// The only secret of a state of the original: the key itself, which only opening the state tells.
    fn collect_only(&mut self, collected: Collected) -> Result<Progress, Refusal> {
        let hash = sha256(&[collected.secret.expose()]);
        let key = DataKey::from_bytes(collected.secret.clone());
        let plan = RecoveryPlan::from_parts(RecoveryScheme::Single, 1, vec![hash]);
        let (Some(key), Some(plan)) = (key, plan) else {
            return Err(denied(
                "setting recovery key: this is not the recovery secret of the state",
            ));
        };
        self.collected = vec![collected];
        Ok(self.complete(key, plan, 0))
    }

    /// A share of a state of the original. How many are needed only opening the state tells, but Shamir shares have
    /// one byte more than a key.
    fn collect_original(
        &mut self,
        header: &OriginalHeader,
        collected: Collected,
    ) -> Result<Progress, Refusal> {
        let hashes = header.share_hashes();
        let shamir = matches!(collected.secret.len(), 17 | 33);
        self.add(hashes, collected)?;
        let given = self.collected.len();
        let remaining = hashes.len().saturating_sub(given);
        let (scheme, least) = if shamir {
            (RecoveryScheme::Shamir, 2)
        } else {
            (RecoveryScheme::Xor, hashes.len())
        };
        if given < least {
            return Ok(Progress::Wanting { remaining });
        }
        let plan = RecoveryPlan::from_parts(scheme, given, hashes.to_vec());
        match (self.combine(scheme), plan) {
            (Some(key), Some(plan)) => Ok(self.complete(key, plan, remaining)),
            _ => Err(self.no_key()),
        }
    }

    fn add(&mut self, hashes: &[[u8; 32]], collected: Collected) -> Result<(), Refusal> {
        if !hashes.contains(&sha256(&[collected.secret.expose()])) {
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
        Ok(())
    }

    fn complete(&self, key: DataKey, plan: RecoveryPlan, remaining: usize) -> Progress {
        Progress::Complete(RecoveredKey {
            key,
            plan,
            collected: self.collected.clone(),
            remaining,
        })
    }

    fn no_key(&mut self) -> Refusal {
        self.forget();
        denied("the recovery secrets do not make a key; all of them have to be handed in again")
    }

    /// Whether trying a secret means to decrypt the whole state.
    pub fn is_costly(&self) -> bool {
        matches!(self.lock, Lock::Original(_))
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
