//! Checkpoints are made on a thread of their own, while changes go on being appended to the log.
//!
//! 1. The keeper's thread hands over a snapshot of the state, which costs it nothing: its collections are
//!    persistent. From then on it hands over every group of changes as well, once that is durable.
//! 2. The other thread seals the snapshot into a draft, and makes it durable a piece at a time, so that a sync of the
//!    log never waits for more than one piece.
//! 3. It seals the groups that came meanwhile behind the snapshot, until hardly any are left.
//! 4. The keeper's thread seals the last of them, syncs the draft, and publishes it with one rename.
//!
//! Until that rename the log is the state, whatever becomes of the draft; after it the draft is, and holds the same
//! changes. What was acknowledged is in both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::{io, thread};

use marblerun_core::ambient::Dice;
use marblerun_core::change::Change;
use marblerun_core::sealed::{FrameSealer, StateId, seal_state_in_parts};
use marblerun_core::state::State;

use super::{Draft, StoreError};

/// Bytes of the draft that are written before it is synced again.
const PIECE: usize = 256 << 10;
/// Groups that are left to the keeper's thread at most, unless new ones come faster than they can be sealed.
const LEFT_OVER: usize = 8;
/// How often the groups that came meanwhile are sealed before the rest is left to the keeper's thread.
const ROUNDS: usize = 16;
/// Sealed bytes that may come meanwhile, because their changes wait in memory.
pub(super) const MEANWHILE_LIMIT: u64 = 64 << 20;

/// Told when a checkpoint wants to be published. Called on the thread that makes it.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What a checkpoint has to do, on whatever thread.
pub(super) type Work = Box<dyn FnOnce() + Send>;

/// Runs the work of a checkpoint.
pub(super) trait Runner: Send {
    /// Starts it, or keeps it for later.
    ///
    /// # Errors
    /// There is no thread for it.
    fn run(&mut self, work: Work) -> io::Result<()>;

    /// Waits until nothing of it is running any more.
    fn join(&mut self);
}

/// Runs each on a thread of its own.
#[derive(Default)]
pub(super) struct Threads(Option<thread::JoinHandle<()>>);

impl Runner for Threads {
    fn run(&mut self, work: Work) -> io::Result<()> {
        self.join();
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(work)?;
        self.0 = Some(thread);
        Ok(())
    }

    fn join(&mut self) {
        if let Some(thread) = self.0.take() {
            // One that panicked has been reported already: its result never came.
            let _ = thread.join();
        }
    }
}

/// A checkpoint that is being made.
pub(super) struct Running {
    groups: Sender<Box<[Change]>>,
    finished: Receiver<Result<Finished, StoreError>>,
    given_up: Arc<AtomicBool>,
    /// Sealed bytes of the log that have come since it began.
    meanwhile: u64,
}

/// A draft with the snapshot and nearly all that came after it.
pub(super) struct Finished {
    /// The file, durable up to its end.
    pub(super) draft: Box<dyn Draft>,
    /// Makes its next frame.
    pub(super) sealer: FrameSealer,
    /// Length of header and checkpoint in bytes.
    pub(super) checkpoint_end: u64,
    groups: Receiver<Box<[Change]>>,
}

/// How a checkpoint stands.
pub(super) enum Progress {
    /// It is being made.
    Working(Running),
    /// It waits to be published.
    Finished(Box<Finished>),
    /// It will not come.
    Failed(String),
}

impl Running {
    /// Begins a checkpoint of `state`. `wake` is called when it is finished or has failed.
    pub(super) fn begin(
        runner: &mut dyn Runner,
        state: State,
        state_id: StateId,
        draft: Box<dyn Draft>,
        dice: Arc<dyn Dice>,
        wake: Option<Waker>,
    ) -> io::Result<Self> {
        let (groups, waiting) = mpsc::channel();
        let (finish, finished) = mpsc::channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&given_up);
        let work = Box::new(move || {
            // Nobody waits any more for one that was given up.
            let _ = finish.send(make(state, state_id, draft, waiting, &*dice, &until));
            drop(finish);
            if let Some(wake) = wake {
                wake();
            }
        });
        runner.run(work)?;
        Ok(Self {
            groups,
            finished,
            given_up,
            meanwhile: 0,
        })
    }

    /// Hands over a group that is durable in the log, with `bytes` there. `false` if so much has come meanwhile
    /// that the checkpoint should be given up.
    pub(super) fn follow(&mut self, changes: &[Change], bytes: u64) -> bool {
        self.meanwhile = self.meanwhile.saturating_add(bytes);
        // Whether it still listens shows when its result is looked at.
        let _ = self.groups.send(changes.into());
        self.meanwhile <= MEANWHILE_LIMIT
    }

    /// Lets it end as soon as it can, without a result.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether it is over, one way or the other.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.finished.try_recv(), Err(TryRecvError::Empty))
    }

    /// Looks whether it is finished. Never waits.
    pub(super) fn progress(self) -> Progress {
        match self.finished.try_recv() {
            Ok(Ok(finished)) => Progress::Finished(Box::new(finished)),
            Ok(Err(error)) => Progress::Failed(error.to_string()),
            Err(TryRecvError::Empty) => Progress::Working(self),
            Err(TryRecvError::Disconnected) => Progress::Failed("its thread panicked".to_owned()),
        }
    }
}

impl Finished {
    /// Seals what is left and makes the whole draft durable: now it holds all that the log holds.
    pub(super) fn complete(&mut self, dice: &dyn Dice) -> Result<(), StoreError> {
        let left: Vec<_> = self.groups.try_iter().collect();
        if left.is_empty() {
            return Ok(());
        }
        append_groups(&mut *self.draft, &mut self.sealer, &left, dice)
    }
}

fn make(
    state: State,
    state_id: StateId,
    mut draft: Box<dyn Draft>,
    groups: Receiver<Box<[Change]>>,
    dice: &dyn Dice,
    given_up: &AtomicBool,
) -> Result<Finished, StoreError> {
    let mut sealer = seal_state_in_parts(&state, state_id, dice, |bytes| {
        for piece in bytes.chunks(PIECE) {
            go_on(given_up)?;
            draft.append(piece)?;
            draft.sync()?;
        }
        Ok::<_, StoreError>(())
    })?;
    // Here, and not on the thread of whoever publishes: what only the snapshot still holds is freed with it.
    drop(state);
    let checkpoint_end = draft.length();
    for _ in 0..ROUNDS {
        go_on(given_up)?;
        let came: Vec<_> = groups.try_iter().collect();
        if came.is_empty() {
            break;
        }
        append_groups(&mut *draft, &mut sealer, &came, dice)?;
        if came.len() <= LEFT_OVER {
            break;
        }
    }
    Ok(Finished {
        draft,
        sealer,
        checkpoint_end,
        groups,
    })
}

/// Seals groups behind what the draft holds, with one sync for all.
fn append_groups(
    draft: &mut dyn Draft,
    sealer: &mut FrameSealer,
    groups: &[Box<[Change]>],
    dice: &dyn Dice,
) -> Result<(), StoreError> {
    let mut frames = Vec::new();
    for changes in groups {
        frames.extend_from_slice(&sealer.changes(changes, dice)?);
        if frames.len() >= PIECE {
            draft.append(&frames)?;
            frames.clear();
        }
    }
    draft.append(&frames)?;
    draft.sync()
}

fn go_on(given_up: &AtomicBool) -> Result<(), StoreError> {
    if given_up.load(Ordering::Relaxed) {
        return Err(StoreError::GivenUp);
    }
    Ok(())
}
