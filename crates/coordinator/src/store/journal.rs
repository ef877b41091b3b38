//! Makes changes durable: seals them and hands them to the store (`spec/06`).
//!
//! Changes are appended as one frame each time. The whole state is written anew when its data key changes,
//! when nothing was written before, after a failed write, and as a checkpoint when the log has grown.

use std::sync::Arc;

use marblerun_core::ambient::Dice;
use marblerun_core::change::Change;
use marblerun_core::manifest::SealMode;
use marblerun_core::sealed::{
    DataKey, FrameSealer, Header, KeyBinding, KeyFile, OpenedState, ReadToEnd, SealedError, StateId,
    root_certificate_hash, seal_state,
};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;

use super::{Replacement, Store, StoreError};
use crate::seal::{SealKeyError, SealKeys};

/// The log may grow to this many bytes, or to the size of the checkpoint if that is more.
const LOG_LIMIT: u64 = 1 << 20;

/// The durable side of the keeper: seals changes and states into a store.
///
/// After an error nobody knows what the store holds; the next write, or [`restore`](Self::restore), replaces
/// it by a whole new file.
pub struct SealedJournal {
    pub(super) store: Box<dyn Store>,
    pub(super) seal: Arc<dyn SealKeys>,
    dice: Arc<dyn Dice>,
    pub(super) current: Option<Current>,
    /// There is another state in the store, which is to be kept aside when ours takes its place.
    pub(super) keep_old: bool,
    /// The id of a state that was to be written for the first time, whether that succeeded or not.
    attempted: Option<StateId>,
    log_limit: u64,
}

/// The file the journal appends to.
pub(super) struct Current {
    pub(super) state_id: StateId,
    /// What the key file is wrapped with; `None` if there is none.
    pub(super) binding: Option<KeyBinding>,
    pub(super) key_generation: u64,
    pub(super) sealer: FrameSealer,
    /// The data key before this one, for the key file.
    pub(super) previous: Option<(u64, DataKey)>,
    pub(super) checkpoint_end: u64,
    pub(super) length: u64,
    /// Whether the file is known to hold all that was sealed for it.
    pub(super) intact: bool,
}

impl SealedJournal {
    /// A journal on a store that holds nothing of it yet.
    pub(super) fn new(store: Box<dyn Store>, seal: Arc<dyn SealKeys>, dice: Arc<dyn Dice>) -> Self {
        Self {
            store,
            seal,
            dice,
            current: None,
            keep_old: false,
            attempted: None,
            log_limit: LOG_LIMIT,
        }
    }

    /// Makes `changes`, which led to `after`, durable before it returns. Before a manifest is set nothing is
    /// written, nor with `SealMode` `Disabled`, where an old state is moved aside.
    ///
    /// # Errors
    /// [`StoreError`]: whether the changes are durable is unknown then.
    pub fn commit(&mut self, changes: &[Change], after: &State) -> Result<(), StoreError> {
        let Some(manifest) = after.manifest() else {
            return Ok(());
        };
        let Some(binding) = binding(manifest.config.seal_mode) else {
            return self.forget();
        };
        let sealing = after
            .sealing()
            .ok_or(StoreError::Sealing(SealedError::NotSealable))?;
        match &self.current {
            Some(current) if current.intact && current.key_generation == sealing.key_generation => {
                self.bind(binding, after)?;
                self.append(changes)?;
                self.checkpoint_if_due(after);
                Ok(())
            }
            _ => self.write_anew(after, binding),
        }
    }

    /// Writes `published` completely anew, so that the outcome of a failed commit no longer matters.
    ///
    /// # Errors
    /// [`StoreError`]: it may be tried again.
    pub fn restore(&mut self, published: &State) -> Result<(), StoreError> {
        match published
            .manifest()
            .and_then(|manifest| binding(manifest.config.seal_mode))
        {
            Some(binding) => self.write_anew(published, binding),
            // Nothing is to be there, and what comes first is a whole new file in any case.
            None => Ok(()),
        }
    }

    /// Opens the state of the store with a recovered data key. Nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`], with [`SealedError::WrongKey`] if it is not the key; [`StoreError::Io`].
    pub fn open_with(&mut self, key: &DataKey) -> Result<OpenedState, StoreError> {
        let stored = self.store.load()?;
        let path = self.store.sealed_data_path();
        let data = stored.sealed_data.ok_or_else(|| StoreError::StateMissing {
            path: path.clone(),
            found: stored.traces,
        })?;
        marblerun_core::sealed::open_state(&data, key)
            .map_err(|problem| StoreError::Unreadable { path, problem })
    }

    /// Goes on with a state that [`open_with`](Self::open_with) opened: cuts a torn tail, and stores its key
    /// wrapped for this enclave, so that the next start needs no recovery. Answers where a tail was kept.
    ///
    /// # Errors
    /// [`StoreError`]: the state is as before, and still needs recovery.
    pub fn adopt(&mut self, opened: OpenedState) -> Result<(State, Option<String>), StoreError> {
        let OpenedState { state, end } = opened;
        let mode = state
            .manifest()
            .map_or(SealMode::ProductKey, |manifest| manifest.config.seal_mode);
        let wanted = binding(mode).unwrap_or(KeyBinding::Product);
        let (state_id, generation) = (end.header.state_id, end.header.key_generation);
        let keys = [(generation, end.sealer.data_key().clone())];
        let key_file = self.key_file(state_id, wanted, &state, &keys)?;
        let kept = self.cut_torn_tail(&end)?;
        if let Some(key_file) = &key_file {
            self.store.replace_key(&key_file.encode())?;
        }
        self.go_on_with(end, key_file.map(|file| file.binding()), None);
        Ok((state, kept))
    }

    /// Cuts the torn tail of a file that was opened. Answers where it is kept.
    pub(super) fn cut_torn_tail(&mut self, end: &ReadToEnd) -> Result<Option<String>, StoreError> {
        end.torn.map(|torn| self.store.cut(torn.offset)).transpose()
    }

    /// Appends to a file that was opened, from now on.
    pub(super) fn go_on_with(
        &mut self,
        end: ReadToEnd,
        binding: Option<KeyBinding>,
        previous: Option<(u64, DataKey)>,
    ) {
        self.keep_old = false;
        self.current = Some(Current {
            state_id: end.header.state_id,
            binding,
            key_generation: end.header.key_generation,
            sealer: end.sealer,
            previous,
            checkpoint_end: end.checkpoint_end,
            length: end.end,
            intact: true,
        });
    }

    fn append(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let Some(current) = &mut self.current else {
            return Err(StoreError::Sealing(SealedError::NeedsNewFile));
        };
        // Set again only at the end: a frame that was sealed and is not in the file leaves a gap.
        current.intact = false;
        let frame = current
            .sealer
            .changes(changes, &*self.dice)
            .map_err(StoreError::Sealing)?;
        self.store.append(current.length, &frame)?;
        current.length += frame.len() as u64;
        current.intact = true;
        Ok(())
    }

    /// The changes are durable already: a checkpoint that fails is no reason to refuse them.
    fn checkpoint_if_due(&mut self, after: &State) {
        let due = self.current.as_ref().and_then(|current| {
            let log = current.length.saturating_sub(current.checkpoint_end);
            (log > self.log_limit.max(current.checkpoint_end)).then_some(current.binding?)
        });
        let Some(binding) = due else { return };
        if let Err(error) = self.write_anew(after, binding) {
            tracing::error!(%error, "a checkpoint failed; the next change tries again");
        }
    }

    /// Writes a whole new file, and the key file that opens both it and the old one.
    fn write_anew(&mut self, state: &State, binding: KeyBinding) -> Result<(), StoreError> {
        let sealing = state
            .sealing()
            .ok_or(StoreError::Sealing(SealedError::NotSealable))?;
        let state_id = self.state_id();
        let (data, sealer) = seal_state(state, state_id, &*self.dice).map_err(StoreError::Sealing)?;
        let previous = self.current.as_ref().and_then(|current| {
            if current.key_generation == sealing.key_generation {
                current.previous.clone()
            } else {
                Some((current.key_generation, current.sealer.data_key().clone()))
            }
        });
        let mut keys: Vec<_> = previous.iter().cloned().collect();
        keys.push((sealing.key_generation, sealing.key.clone()));
        let key_file = self.key_file(state_id, binding, state, &keys)?;
        let keep_old = self.keep_old && !self.holds(state_id)?;

        if let Some(current) = &mut self.current {
            current.intact = false;
        }
        let encoded = key_file.as_ref().map(KeyFile::encode);
        self.store.replace(Replacement {
            sealed_data: &data,
            sealed_key: encoded.as_deref(),
            keep_old,
        })?;
        self.keep_old = false;
        let length = data.len() as u64;
        self.current = Some(Current {
            state_id,
            binding: key_file.map(|file| file.binding()),
            key_generation: sealing.key_generation,
            sealer,
            previous,
            checkpoint_end: length,
            length,
            intact: true,
        });
        Ok(())
    }

    /// The id of the state that is written: drawn once, whether the first write succeeds or not.
    fn state_id(&mut self) -> StateId {
        match &self.current {
            Some(current) => current.state_id,
            None => *self
                .attempted
                .get_or_insert_with(|| StateId::generate(&*self.dice)),
        }
    }

    /// Whether the store holds this state already: then a write that was reported as failed has come through,
    /// and what was there before it is aside.
    fn holds(&mut self, state_id: StateId) -> Result<bool, StoreError> {
        let data = self.store.load()?.sealed_data.unwrap_or_default();
        Ok(Header::parse(&data).is_ok_and(|(header, _)| header.state_id == state_id))
    }

    /// A change of `SealMode` alone: the same key, wrapped with the other seal key. Whichever is there after a
    /// crash opens, as the file says what it is wrapped with.
    fn bind(&mut self, wanted: KeyBinding, after: &State) -> Result<(), StoreError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        if current.binding.is_none_or(|binding| binding == wanted) {
            return Ok(());
        }
        let mut keys: Vec<_> = current.previous.iter().cloned().collect();
        keys.push((current.key_generation, current.sealer.data_key().clone()));
        let state_id = current.state_id;
        let Some(key_file) = self.key_file(state_id, wanted, after, &keys)? else {
            return Ok(());
        };
        self.store.replace_key(&key_file.encode())?;
        if let Some(current) = &mut self.current {
            current.binding = Some(wanted);
        }
        Ok(())
    }

    /// The key file with these keys, or `None` where there is no seal key by nature.
    fn key_file(
        &self,
        state_id: StateId,
        binding: KeyBinding,
        state: &State,
        keys: &[(u64, DataKey)],
    ) -> Result<Option<KeyFile>, StoreError> {
        let seal_key: SecretBytes = match self.seal.seal_key(binding) {
            Ok(seal_key) => seal_key,
            Err(SealKeyError::NoSealKey { .. }) => return Ok(None),
            Err(failed) => return Err(failed.into()),
        };
        let mut file = KeyFile::new(state_id, binding, root_certificate_hash(state));
        for (generation, key) in keys {
            file.wrap(*generation, key, &seal_key, &*self.dice)
                .map_err(StoreError::Sealing)?;
        }
        Ok(Some(file))
    }

    /// `SealMode` `Disabled`: what was kept so far is moved aside.
    fn forget(&mut self) -> Result<(), StoreError> {
        if self.current.is_some() {
            self.store.retire()?;
            self.current = None;
            self.attempted = None;
            tracing::warn!(
                "sealing is disabled: the state is in memory only, and a restart forgets everything"
            );
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn with_log_limit(mut self, log_limit: u64) -> Self {
        self.log_limit = log_limit;
        self
    }
}

/// What the key of a mode is bound to; `None` if nothing is kept.
fn binding(mode: SealMode) -> Option<KeyBinding> {
    match mode {
        SealMode::ProductKey => Some(KeyBinding::Product),
        SealMode::UniqueKey => Some(KeyBinding::Unique),
        SealMode::Disabled => None,
    }
}
