//! The only writer of the state.
//!
//! A thread of its own takes what waits to be decided, decides one after the other on the *pending* state,
//! makes the changes of the whole group durable with one write, publishes the new state and only then answers.
//! Readers use the published state and never wait. A refusal may rest on a change of the same group, so
//! refusals, too, leave only after the write; when it fails, the pending state is dropped as if nothing had
//! been asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use marblerun_core::change::Change;
use marblerun_core::decision::{Decision, Verdict};
use marblerun_core::phase::Phase;
use marblerun_core::recovery::RecoveredKey;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_core::state::State;
use tokio::sync::{mpsc, oneshot};

use crate::observe::metrics::metrics;
use crate::store::checkpoint::Waker;

/// Decisions that may wait; beyond, callers wait to hand theirs in.
const QUEUE: usize = 1024;
/// Decisions that share one write at most.
const GROUP: usize = 256;
/// How long after a failed write it is tried whether the state can be written again, although nobody writes: who only
/// sends writers to a Coordinator that is ready would wait for ever. Each attempt that fails doubles it, up to the other.
const FIRST_ATTEMPT: Duration = Duration::from_secs(2);
const LAST_ATTEMPT: Duration = Duration::from_secs(60);

/// Makes changes durable.
pub trait Journal: Send {
    /// Makes `changes`, which led to `after`, durable before it returns.
    ///
    /// # Errors
    /// Whether the changes are durable is unknown then; nothing may be appended until [`Journal::restore`]
    /// has succeeded.
    fn commit(&mut self, changes: &[Change], after: &State) -> Result<(), JournalError>;

    /// Writes `published` completely anew, so that the outcome of a failed commit no longer matters.
    ///
    /// # Errors
    /// The journal is as before; it may be tried again.
    fn restore(&mut self, published: &State) -> Result<(), JournalError>;

    /// Called after the answers to a group that changed the state, and when it asked for it: the journal may put
    /// itself in order. `published` is what it holds, unless a commit failed.
    fn settle(&mut self, published: &State);

    /// Takes what wakes the keeper, so that [`Journal::settle`] is called although nothing is committed.
    fn wake_with(&mut self, wake: Waker);

    /// Opens the state that waits for recovery, and goes on with it if `check` agrees. Until then nothing is
    /// written.
    ///
    /// # Errors
    /// [`RecoverError`]: the state is untouched and waits on.
    fn recover(&mut self, key: &RecoveredKey, check: &Check) -> Result<State, RecoverError>;
}

/// Whether a state that was opened may be gone on with.
pub type Check = dyn Fn(&State) -> Result<(), Refusal> + Send;

/// A state was not recovered.
#[derive(Debug)]
pub enum RecoverError {
    /// It was sealed with another key.
    WrongKey,
    /// It is damaged, may not be gone on with, or could not be taken over.
    Refused(Refusal),
}

/// A write did not succeed. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JournalError(pub String);

/// Access to the state: read the published one, or have something decided.
#[derive(Clone)]
pub struct Keeper {
    published: Arc<ArcSwap<State>>,
    queue: mpsc::Sender<Job>,
}

/// What waits for the writer.
enum Job {
    /// Decided in a group with others.
    Decide(Rule),
    /// Done on its own.
    Alone(Box<dyn FnOnce(&mut Writer) + Send>),
}

/// Decides on the pending state: the changes, and how to answer once their fate is known.
type Rule = Box<dyn FnOnce(&State) -> (Vec<Change>, Answer) + Send>;
/// Told whether the group is durable.
type Answer = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

impl Keeper {
    /// Starts the writer. The thread ends when the last `Keeper` is dropped and all that waited is answered.
    ///
    /// `on_publish` is called with every published state, on the writer's thread, before anybody is answered.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(
        state: State,
        mut journal: Box<dyn Journal>,
        on_publish: impl Fn(&State) + Send + 'static,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        // Weak: what is made in the background does not keep the writer alive.
        let asleep = queue.downgrade();
        let weak = asleep.clone();
        journal.wake_with(Arc::new(move || {
            if let Some(queue) = asleep.upgrade() {
                // With a full queue there is no need: the journal settles after each group.
                let _ = queue.try_send(Job::Alone(Box::new(Writer::settle)));
            }
        }));
        let published = Arc::new(ArcSwap::from_pointee(state));
        let writer = Writer {
            published: Arc::clone(&published),
            journal,
            on_publish: Box::new(on_publish),
            intact: true,
            queue: weak,
            attempt: Attempt::default(),
        };
        let thread = std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || writer.run(waiting))?;
        Ok((Self { published, queue }, thread))
    }

    /// The published state: all of it is durable.
    pub fn snapshot(&self) -> Arc<State> {
        self.published.load_full()
    }

    /// Has `rule` decided on the newest state, and waits until the changes are durable.
    ///
    /// `Ok(None)`: what was prepared is stale, nothing happened.
    ///
    /// # Errors
    /// The rule's refusal, or `Unavailable` when the changes could not be made durable or the Coordinator is
    /// stopping.
    pub async fn decide<R: Send + 'static>(
        &self,
        rule: impl FnOnce(&State) -> Result<Verdict<R>, Refusal> + Send + 'static,
    ) -> Result<Option<R>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let rule: Rule = Box::new(move |pending| {
            // A panic in a rule costs this one request; the pending state is only read here.
            let verdict = catch_unwind(AssertUnwindSafe(|| rule(pending)))
                .unwrap_or_else(|_| Err(Refusal::internal("a rule panicked")));
            let (changes, reply) = match verdict {
                Ok(Verdict::Decided(Decision { changes, reply })) => (changes, Ok(Some(reply))),
                Ok(Verdict::Stale) => (Vec::new(), Ok(None)),
                Err(refusal) => (Vec::new(), Err(refusal)),
            };
            let tell = move |fate: Result<(), Refusal>| {
                // Whoever asked may have gone; what was decided stands all the same.
                let _ = answer.send(fate.and(reply));
            };
            (changes, Box::new(tell))
        });
        self.queue.send(Job::Decide(rule)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// Opens the state that waits for recovery with `key`; if `check` agrees to what it finds, that state is the
    /// published one from then on. `Ok(false)`: the key is not that of the state.
    ///
    /// # Errors
    /// `WrongPhase` if no state waits, the refusal of `check`, or `Conflict` when the state cannot be read or taken
    /// over: it is untouched then and waits on.
    pub async fn recover(
        &self,
        key: RecoveredKey,
        check: impl Fn(&State) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<bool, Refusal> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Alone(Box::new(move |writer| {
            // Whoever asked may have gone; a state that is recovered stays so.
            let _ = answer.send(writer.recover(&key, &check));
        }));
        self.queue.send(job).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}

struct Writer {
    published: Arc<ArcSwap<State>>,
    journal: Box<dyn Journal>,
    on_publish: Box<dyn Fn(&State) + Send>,
    /// Whether the journal is known to hold exactly the published state.
    intact: bool,
    queue: mpsc::WeakSender<Job>,
    attempt: Attempt,
}

/// The next attempt to write the state anew that nobody asked for.
struct Attempt {
    waits: bool,
    pause: Duration,
}

impl Default for Attempt {
    fn default() -> Self {
        Self {
            waits: false,
            pause: FIRST_ATTEMPT,
        }
    }
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut next = Some(first);
            while let Some(job) = next {
                next = match job {
                    Job::Decide(rule) => self.decide_group(rule, &mut waiting),
                    Job::Alone(work) => {
                        work(&mut self);
                        None
                    }
                };
            }
        }
    }

    /// Decides a group. Answers with what was next in the queue and is none of it.
    fn decide_group(&mut self, first: Rule, waiting: &mut mpsc::Receiver<Job>) -> Option<Job> {
        let published = self.published.load_full();
        let mut pending = State::clone(&published);
        let mut changes = Vec::new();
        let mut answers = Vec::new();

        let mut next = Some(first);
        let mut left_over = None;
        while let Some(rule) = next {
            let (decided, answer) = rule(&pending);
            for change in &decided {
                pending.apply(change);
            }
            changes.extend(decided);
            answers.push(answer);
            next = None;
            if answers.len() < GROUP {
                match waiting.try_recv() {
                    Ok(Job::Decide(rule)) => next = Some(rule),
                    Ok(other) => left_over = Some(other),
                    Err(_) => {}
                }
            }
        }

        let fate = if changes.is_empty() {
            Ok(())
        } else {
            self.make_durable(&published, &changes, pending)
        };
        let changed = !changes.is_empty();
        for answer in answers {
            answer(fate.clone());
        }
        if changed {
            self.settle();
        }
        left_over
    }

    fn settle(&mut self) {
        // After a failed commit the journal waits for `restore`, and knows so itself.
        self.journal.settle(&self.published.load_full());
    }

    fn recover(&mut self, key: &RecoveredKey, check: &Check) -> Result<bool, Refusal> {
        if self.published.load().phase() != Phase::Recovery {
            return Err(Refusal::wrong_phase());
        }
        // The file may be anybody's: a panic over it costs this one attempt.
        let opened =
            catch_unwind(AssertUnwindSafe(|| self.journal.recover(key, check))).unwrap_or_else(|_| {
                Err(RecoverError::Refused(Refusal::internal(
                    "opening the state panicked",
                )))
            });
        match opened {
            Ok(state) => {
                self.intact = true;
                metrics().set_writable(true);
                (self.on_publish)(&state);
                self.published.store(Arc::new(state));
                Ok(true)
            }
            Err(RecoverError::WrongKey) => Ok(false),
            Err(RecoverError::Refused(refusal)) => Err(refusal),
        }
    }

    /// After a failed write: makes the journal hold the published state again.
    fn mend(&mut self, published: &State) -> Result<(), Refusal> {
        if self.intact {
            return Ok(());
        }
        self.journal.restore(published).map_err(|error| {
            tracing::error!(%error, "the state still cannot be written");
            self.attempt_later();
            Refusal::new(RefusalKind::Unavailable, "the state cannot be written at present")
                .with_detail(error)
        })?;
        self.intact = true;
        self.attempt.pause = FIRST_ATTEMPT;
        metrics().set_writable(true);
        tracing::info!("the state has been written anew; changes are accepted again");
        Ok(())
    }

    fn attempt_later(&mut self) {
        if self.attempt.waits {
            return;
        }
        let pause = self.attempt.pause;
        let queue = self.queue.clone();
        let sleeper = std::thread::Builder::new().name("keeper-attempt".to_owned());
        let asleep = sleeper.spawn(move || {
            std::thread::sleep(pause);
            if let Some(queue) = queue.upgrade() {
                // Where nobody listens, nothing is to be written any more.
                let _ = queue.blocking_send(Job::Alone(Box::new(|writer| {
                    writer.attempt.waits = false;
                    let published = writer.published.load_full();
                    // It was logged, and is tried again.
                    let _ = writer.mend(&published);
                })));
            }
        });
        // Without a thread to spare, it is tried with the next write.
        self.attempt.waits = asleep.is_ok();
        self.attempt.pause = (pause * 2).min(LAST_ATTEMPT);
    }

    fn make_durable(&mut self, published: &State, changes: &[Change], pending: State) -> Result<(), Refusal> {
        self.mend(published)?;
        let began = Instant::now();
        let committed = self.journal.commit(changes, &pending);
        metrics().committed(began.elapsed());
        metrics().set_writable(committed.is_ok());
        committed.map_err(|error| {
            self.intact = false;
            self.attempt_later();
            tracing::error!(%error, "writing changes failed; no more are accepted until the state is written anew");
            Refusal::new(RefusalKind::Unavailable, "the change could not be written; its outcome is unknown")
                .with_detail(error)
        })?;
        // Saved first: whoever reads the published state may rely on finding it again after a crash.
        (self.on_publish)(&pending);
        self.published.store(Arc::new(pending));
        Ok(())
    }
}

fn stopping() -> Refusal {
    Refusal::new(RefusalKind::Unavailable, "the Coordinator is stopping")
}
