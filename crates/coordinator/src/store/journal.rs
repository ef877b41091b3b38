//! Makes changes durable: seals them and hands them to the store (`spec/06`).
//!
//! Changes are appended as one frame each time. The whole state is written anew when its data key changes,
//! when nothing was written before, and after a failed write. When the log has grown, a checkpoint is made beside
//! it, on a thread of its own.

use std::sync::Arc;

use marblerun_core::ambient::Dice;
use marblerun_core::change::Change;
use marblerun_core::manifest::SealMode;
use marblerun_core::sealed::{
    DataKey, FrameSealer, Header, KeyBinding, KeyFile, MAX_FILE_BYTES, ReadToEnd, SealedError, StateId,
    root_certificate_hash, seal_state,
};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;

use super::checkpoint::{Runner, Running, Threads, Waker};
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
    pub(super) dice: Arc<dyn Dice>,
    pub(super) current: Option<Current>,
    /// There is another state in the store, which is to be kept aside when ours takes its place.
    pub(super) keep_old: bool,
    /// The id of a state that was to be written for the first time, whether that succeeded or not.
    attempted: Option<StateId>,
    /// Where a torn tail begins that could not be cut yet.
    uncut: Option<u64>,
    pub(super) log_limit: u64,
    /// No larger file is written, as none is opened.
    pub(super) file_limit: u64,
    pub(super) runner: Box<dyn Runner>,
    pub(super) wake: Option<Waker>,
    /// The checkpoint that is being made.
    pub(super) checkpoint: Option<Running>,
    /// One that is not wanted any more. The next begins when it has ended, as both write the same draft.
    pub(super) given_up: Option<Running>,
    /// Length of the file at which a checkpoint that failed is tried again.
    pub(super) try_again_at: u64,
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
            uncut: None,
            log_limit: LOG_LIMIT,
            file_limit: MAX_FILE_BYTES,
            runner: Box::new(Threads::default()),
            wake: None,
            checkpoint: None,
            given_up: None,
            try_again_at: 0,
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
        self.cut_what_is_left()?;
        let Some(binding) = binding(manifest.config.seal_mode) else {
            return self.forget();
        };
        let sealing = after
            .sealing()
            .ok_or(StoreError::Sealing(SealedError::NotSealable))?;
        match &self.current {
            Some(current) if current.intact && current.key_generation == sealing.key_generation => {
                self.bind(binding, after)?;
                match self.append(changes) {
                    // Nothing was written: the whole state can be.
                    Err(error @ StoreError::NotAppendable { .. }) => {
                        tracing::warn!(%error, "the state is written anew");
                        self.write_anew(after, binding)
                    }
                    appended => appended,
                }
            }
            _ => self.write_anew(after, binding),
        }
    }

    /// Writes `published` completely anew, so that the outcome of a failed commit no longer matters.
    ///
    /// # Errors
    /// [`StoreError`]: it may be tried again.
    pub fn restore(&mut self, published: &State) -> Result<(), StoreError> {
        self.cut_what_is_left()?;
        match published
            .manifest()
            .and_then(|manifest| binding(manifest.config.seal_mode))
        {
            Some(binding) => self.write_anew(published, binding),
            // Nothing of ours is to be there, and what comes first is a whole new file in any case. But a state
            // that was to be given up, and was not, waits on.
            None => self.undo_giving_up(),
        }
    }

    /// Cuts the torn tail of a file that was opened. Answers where it is kept.
    pub(super) fn cut_torn_tail(&mut self, end: &ReadToEnd) -> Result<Option<String>, StoreError> {
        end.torn.map(|torn| self.store.cut(torn.offset)).transpose()
    }

    /// Leaves a torn tail for later, when there is room to keep it: until then nothing is appended.
    pub(super) fn cut_later(&mut self, offset: u64) {
        self.uncut = Some(offset);
    }

    fn cut_what_is_left(&mut self) -> Result<(), StoreError> {
        if let Some(offset) = self.uncut {
            let kept = self.store.cut(offset)?;
            self.uncut = None;
            tracing::warn!(
                offset,
                kept,
                "a write that was cut short was removed from the end of the state"
            );
        }
        Ok(())
    }

    /// Appends to a file that was opened, from now on.
    pub(super) fn go_on_with(
        &mut self,
        end: ReadToEnd,
        binding: Option<KeyBinding>,
        previous: Option<(u64, DataKey)>,
    ) {
        self.keep_old = false;
        self.give_up_checkpoint();
        // Left behind by a crash.
        self.store.discard_draft();
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
        let frame = current.sealer.changes(changes, &*self.dice)?;
        let length = frame.len() as u64;
        let appended = fits(&*self.store, current.length + length, self.file_limit)
            .and_then(|()| self.store.append(current.length, &frame));
        if let Err(error) = appended {
            self.give_up_checkpoint();
            return Err(error);
        }
        current.length += length;
        current.intact = true;
        // Only what is durable goes into the checkpoint: it must not hold what the caller was told may be lost.
        let follows = self
            .checkpoint
            .as_mut()
            .map(|running| running.follow(changes, length));
        if follows == Some(false) {
            tracing::warn!("a checkpoint is given up: changes come faster than it can be written");
            self.give_up_checkpoint();
        }
        Ok(())
    }

    /// Writes a whole new file, and the key file that opens both it and the old one.
    pub(super) fn write_anew(&mut self, state: &State, binding: KeyBinding) -> Result<(), StoreError> {
        let sealing = state
            .sealing()
            .ok_or(StoreError::Sealing(SealedError::NotSealable))?;
        let state_id = self.state_id();
        let (data, sealer) = seal_state(state, state_id, &*self.dice).map_err(StoreError::Sealing)?;
        fits(&*self.store, data.len() as u64, self.file_limit)?;
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

        self.give_up_checkpoint();
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
    pub(super) fn key_file(
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
            self.give_up_checkpoint();
            self.store.retire()?;
            self.current = None;
            self.attempted = None;
            tracing::warn!(
                "sealing is disabled: the state is in memory only, and a restart forgets everything"
            );
        }
        Ok(())
    }
}

/// What the key of a mode is bound to; `None` if nothing is kept.
pub(super) fn binding(mode: SealMode) -> Option<KeyBinding> {
    match mode {
        SealMode::ProductKey => Some(KeyBinding::Product),
        SealMode::UniqueKey => Some(KeyBinding::Unique),
        SealMode::Disabled => None,
    }
}

/// Refuses to write what could not be opened again.
pub(super) fn fits(store: &dyn Store, size: u64, limit: u64) -> Result<(), StoreError> {
    if size <= limit {
        return Ok(());
    }
    let path = store.sealed_data_path();
    Err(StoreError::TooLarge { path, size, limit })
}
