//! Recovery, as the journal sees it: opens the state that waits in the store, ours or the original's, and goes on with
//! it. Until it is gone on with, nothing is written but what undoes an attempt to give it up.

use marblerun_core::flow::recover;
use marblerun_core::manifest::SealMode;
use marblerun_core::original::OriginalHeader;
use marblerun_core::recovery::RecoveredKey;
use marblerun_core::sealed::{DataKey, KeyBinding, OpenedState};
use marblerun_core::state::State;

use super::StoreError;
use super::journal::{SealedJournal, binding};

impl SealedJournal {
    /// Opens the state of the store with a recovered data key. Nothing is written, but what undoes an attempt to
    /// give that state up, which failed.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`], with
    /// [`SealedError::WrongKey`](marblerun_core::sealed::SealedError::WrongKey) if it is not the key; [`StoreError::Io`].
    pub fn open_with(&mut self, key: &DataKey) -> Result<OpenedState, StoreError> {
        self.undo_giving_up()?;
        let stored = self.store.load()?;
        let path = self.store.sealed_data_path();
        let data = stored.sealed_data.ok_or_else(|| StoreError::StateMissing {
            path: path.clone(),
            found: stored.traces,
        })?;
        marblerun_core::sealed::open_state(&data, key)
            .map_err(|problem| StoreError::Unreadable { path, problem })
    }

    /// Opens the state of the store if it is one of the original. Nothing is written, but what undoes an attempt to
    /// write another state in its place, which failed.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`], with
    /// [`SealedError::WrongKey`](marblerun_core::sealed::SealedError::WrongKey) if it is not the key; [`StoreError::Io`].
    pub fn open_original(&mut self, recovered: &RecoveredKey) -> Result<Option<State>, StoreError> {
        self.undo_giving_up()?;
        let data = self.store.load()?.sealed_data.unwrap_or_default();
        if OriginalHeader::parse(&data).is_none() {
            return Ok(None);
        }
        let path = self.store.sealed_data_path();
        recover::open_original(&data, recovered)
            .map(Some)
            .map_err(|problem| StoreError::Unreadable { path, problem })
    }

    /// Writes a state of the original in our format, in place of the original's files, which are kept aside.
    ///
    /// # Errors
    /// [`StoreError`]: the original's files are there still, or ours that open.
    pub fn take_over(&mut self, state: &State) -> Result<(), StoreError> {
        let mode = state
            .manifest()
            .map_or(SealMode::ProductKey, |manifest| manifest.config.seal_mode);
        self.keep_old = true;
        self.write_anew(state, binding(mode).unwrap_or(KeyBinding::Product))
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

    /// An attempt to write another state in the place of the one that waits for recovery has failed, and may have
    /// come through all the same: whoever asked was not told that it had, so the old one is put back.
    pub(super) fn undo_giving_up(&mut self) -> Result<(), StoreError> {
        if self.keep_old && self.current.is_none() {
            self.store.put_back()?;
        }
        Ok(())
    }
}
