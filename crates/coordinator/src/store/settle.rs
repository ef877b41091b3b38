//! When a journal makes checkpoints, and how it puts one in place ([`checkpoint`](super::checkpoint) says how they
//! are made).

use std::sync::Arc;

use marblerun_core::state::State;

use super::StoreError;
use super::checkpoint::{Finished, Progress, Running, Waker};
use super::journal::{SealedJournal, fits};

/// The log grows by this many bytes before a checkpoint that failed is tried again.
const TRY_AGAIN_AFTER: u64 = 1 << 18;

impl SealedJournal {
    /// Has `wake` called, on any thread, when [`Self::settle`] has something to do although nothing was committed.
    pub fn wake_with(&mut self, wake: Waker) {
        self.wake = Some(wake);
    }

    /// What can be done after the answers: begins a checkpoint of `published` when the log has grown, and publishes
    /// one that is finished. Takes as long as two syncs at most, however large the state is.
    ///
    /// Nothing here is reported to a caller, as all changes are durable already: a checkpoint that fails is tried
    /// again later, and one whose outcome is unknown has the next change write a whole new file.
    pub fn settle(&mut self, published: &State) {
        if self.given_up.as_ref().is_some_and(Running::is_over) {
            self.given_up = None;
            self.store.discard_draft();
        }
        match self.checkpoint.take().map(Running::progress) {
            Some(Progress::Working(running)) => self.checkpoint = Some(running),
            Some(Progress::Finished(finished)) => self.publish(*finished),
            Some(Progress::Failed(reason)) => self.checkpoint_failed(&reason),
            None => {
                if self.is_checkpoint_due()
                    && let Err(error) = self.begin_checkpoint(published)
                {
                    self.checkpoint_failed(&error.to_string());
                }
            }
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        self.given_up.is_none()
            && self.current.as_ref().is_some_and(|current| {
                let log = current.length.saturating_sub(current.checkpoint_end);
                current.intact
                    && log > self.log_limit.max(current.checkpoint_end)
                    && current.length >= self.try_again_at
            })
    }

    fn begin_checkpoint(&mut self, published: &State) -> Result<(), StoreError> {
        let Some(state_id) = self.current.as_ref().map(|current| current.state_id) else {
            return Ok(());
        };
        let draft = self.store.begin_draft()?;
        let running = Running::begin(
            &mut *self.runner,
            published.clone(),
            state_id,
            draft,
            Arc::clone(&self.dice),
            self.wake.clone(),
        );
        self.checkpoint = Some(running.map_err(|source| StoreError::Io {
            path: self.store.sealed_data_path(),
            action: "start a thread for a checkpoint of",
            source,
        })?);
        Ok(())
    }

    fn publish(&mut self, mut finished: Finished) {
        let Some(current) = self.current.as_mut().filter(|current| current.intact) else {
            return self.store.discard_draft();
        };
        let completed = finished.complete(&*self.dice).and_then(|()| {
            let length = finished.draft.length();
            fits(&*self.store, length, self.file_limit)
        });
        if let Err(error) = completed {
            return self.checkpoint_failed(&error.to_string());
        }
        let Finished {
            draft,
            sealer,
            checkpoint_end,
            ..
        } = finished;
        let length = draft.length();
        current.intact = false;
        if let Err(error) = self.store.publish_draft(draft) {
            tracing::error!(
                %error,
                "a checkpoint may have been published or not; the next change writes the state anew"
            );
            return;
        }
        current.sealer = sealer;
        current.checkpoint_end = checkpoint_end;
        current.length = length;
        current.intact = true;
        self.try_again_at = 0;
    }

    fn checkpoint_failed(&mut self, reason: &str) {
        tracing::error!(
            reason,
            "a checkpoint failed; it is tried again when the log has grown"
        );
        self.store.discard_draft();
        let length = self.current.as_ref().map_or(0, |current| current.length);
        self.try_again_at = length.saturating_add(TRY_AGAIN_AFTER);
    }

    /// The file a checkpoint was made for is to be replaced, moved aside or has failed.
    pub(super) fn give_up_checkpoint(&mut self) {
        if let Some(running) = self.checkpoint.take() {
            running.give_up();
            self.given_up = Some(running);
        }
    }

    #[cfg(test)]
    pub(super) fn with_file_limit(mut self, file_limit: u64) -> Self {
        self.file_limit = file_limit;
        self
    }

    #[cfg(test)]
    pub(super) fn with_log_limit(mut self, log_limit: u64) -> Self {
        self.log_limit = log_limit;
        self
    }

    #[cfg(test)]
    pub(super) fn with_runner(mut self, runner: impl super::checkpoint::Runner + 'static) -> Self {
        self.runner = Box::new(runner);
        self
    }
}

impl Drop for SealedJournal {
    /// A checkpoint is not waited for, but its thread is: whoever opens the directory next has it alone.
    fn drop(&mut self) {
        self.give_up_checkpoint();
        self.runner.join();
        if self.given_up.is_some() {
            self.store.discard_draft();
        }
    }
}
