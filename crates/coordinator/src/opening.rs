//! Opens what is kept of a deployment, or begins a new one (`spec/06`, "Start").

use std::sync::Arc;

use marblerun_core::ambient::{Ambient, CryptoFault, Dice};
use marblerun_core::change::Change;
use marblerun_core::pki::authority;
use marblerun_core::recovery::{Lock, RecoveredKey};
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_core::sealed::SealedError;
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;

use crate::config::Config;
use crate::keeper::{Check, Journal, JournalError, RecoverError};
use crate::seal::{SealKeyError, place};
use crate::service::now;
use crate::store::StoreError;
use crate::store::checkpoint::Waker;
use crate::store::files::FileStore;
use crate::store::journal::SealedJournal;
use crate::store::open::{Found, Opened, open};
use crate::tee::{Tee, TeeError};

/// Bytes of a root secret (`spec/02`).
const ROOT_SECRET: usize = 32;

/// Why there is neither an old state nor a new one.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The directory, or what is in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key that seals the state.
    #[error(transparent)]
    SealKey(#[from] SealKeyError),
    /// A new certificate authority could not be made.
    #[error(transparent)]
    Crypto(#[from] CryptoFault),
    /// There is no evidence for its root certificate.
    #[error(transparent)]
    Tee(#[from] TeeError),
}

/// What the Coordinator begins with.
pub struct Opening {
    /// The state to serve.
    pub state: State,
    /// Makes its changes durable.
    pub journal: Box<dyn Journal>,
    /// What is known of a state that waits for recovery.
    pub lock: Option<Lock>,
}

/// The state to serve, and what makes its changes durable.
///
/// Nothing found: a new certificate authority. A state that does not open: a temporary one, while the state waits
/// for recovery, untouched. The directory stays locked as long as the journal lives.
///
/// # Errors
/// [`OpeningError`]: the directory is in use, damaged, or has lost its state.
pub fn state(config: &Config, tee: &Tee, dice: &Arc<dyn Dice>) -> Result<Opening, OpeningError> {
    let store = FileStore::open(&config.seal_directory, now)?;
    match place::close_to_others(&config.seal_directory) {
        Ok(notices) => notices.iter().for_each(|notice| tracing::warn!("{notice}")),
        Err(error) => tracing::warn!(%error, "who may write the directory of the sealed state is not known"),
    }
    let seal = tee.seal_keys(&config.seal_directory, dice)?;
    let Opened {
        found,
        journal,
        notices,
    } = open(Box::new(store), seal, Arc::clone(dice), config.fresh)?;
    for notice in &notices {
        tracing::warn!("{notice}");
    }
    let (state, lock) = match found {
        Found::State(state) => (*state, None),
        Found::Nothing => (begin(config, tee, &**dice, false)?, None),
        Found::Locked { reason, lock } => {
            tracing::warn!(
                reason,
                "the state does not open: waiting for recovery or a new manifest"
            );
            (begin(config, tee, &**dice, true)?, Some(lock))
        }
    };
    let journal = Box::new(Durable(journal));
    Ok(Opening { state, journal, lock })
}

/// A new authority, whose root certificate carries evidence about this Coordinator (`spec/03`).
fn begin(config: &Config, tee: &Tee, dice: &dyn Dice, recovering: bool) -> Result<State, OpeningError> {
    let mut failed = None;
    let authority = authority::create_with(
        config.suite,
        &config.dns_names,
        &Ambient { now: now(), dice },
        |public_key| {
            tee.certificate_evidence(public_key).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        },
    )?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let root_secret = SecretBytes::fill_with(ROOT_SECRET, |bytes| dice.fill(bytes));
    Ok(State::begin(authority, root_secret, recovering))
}

/// The sealed journal as the keeper wants it.
pub(crate) struct Durable(pub(crate) SealedJournal);

impl Journal for Durable {
    fn commit(&mut self, changes: &[Change], after: &State) -> Result<(), JournalError> {
        self.0
            .commit(changes, after)
            .map_err(|error| JournalError(error.to_string()))
    }

    fn restore(&mut self, published: &State) -> Result<(), JournalError> {
        self.0
            .restore(published)
            .map_err(|error| JournalError(error.to_string()))
    }

    fn settle(&mut self, published: &State) {
        self.0.settle(published);
    }

    fn wake_with(&mut self, wake: Waker) {
        self.0.wake_with(wake);
    }

    fn recover(&mut self, key: &RecoveredKey, check: &Check) -> Result<State, RecoverError> {
        let unopened = |error| match error {
            StoreError::Unreadable {
                problem: SealedError::WrongKey,
                ..
            } => RecoverError::WrongKey,
            other => unavailable("the state cannot be opened", &other),
        };
        if let Some(state) = self.0.open_original(key).map_err(unopened)? {
            check(&state).map_err(RecoverError::Refused)?;
            self.0
                .take_over(&state)
                .map_err(|error| unavailable("the state was opened, but cannot be taken over", &error))?;
            tracing::warn!("the state of the original was taken over; its files are kept as superseded-…");
            return Ok(state);
        }
        let opened = self.0.open_with(&key.key).map_err(unopened)?;
        check(&opened.state).map_err(RecoverError::Refused)?;
        let (state, kept) = self
            .0
            .adopt(opened)
            .map_err(|error| unavailable("the state was opened, but cannot be taken over", &error))?;
        if let Some(kept) = kept {
            tracing::warn!(
                kept,
                "a write that was cut short was removed from the end of the state"
            );
        }
        Ok(state)
    }
}

fn unavailable(message: &str, error: &StoreError) -> RecoverError {
    tracing::error!(%error, "{message}");
    let refusal = Refusal::new(
        RefusalKind::Conflict,
        format!("{message}; see the Coordinator's log"),
    );
    RecoverError::Refused(refusal.with_detail(error))
}
