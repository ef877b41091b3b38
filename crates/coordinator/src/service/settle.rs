//! Prepare, then decide: in parallel, off the async threads if it takes long, then by the keeper in order; again when
//! what was prepared has become stale.

use std::sync::Arc;

use marblerun_core::ambient::Ambient;
use marblerun_core::decision::Verdict;
use marblerun_core::flow::effort::Effort;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_core::state::State;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ATTEMPTS, PREPARING_AT_ONCE, Service, now};
use crate::wanted::WantedDice;

impl Service {
    /// Prepares in a turn of its own and has the keeper decide, again as long as what was prepared has become stale.
    pub(super) async fn settle<P: Send + 'static, R: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        effort: Effort,
        prepare: impl Fn(&State, &Ambient<'_>) -> Result<P, Refusal> + Send + Sync + 'static,
        decide: fn(&State, &P, &Ambient<'_>) -> Result<Verdict<R>, Refusal>,
    ) -> Result<R, Refusal> {
        let (turn, prepare) = (take_turn(turns).await?, Arc::new(prepare));
        for _ in 0..ATTEMPTS {
            if let Some(reply) = self.attempt(&turn, effort, &prepare, decide).await? {
                return Ok(reply);
            }
        }
        Err(changing())
    }

    /// Settles an update. It rests on uploaded secrets and takes longer than writing them: when writers were faster,
    /// the next attempts wait for those who write and let nobody else begin, so that it gets its turn.
    pub(super) async fn settle_update<P: Send + 'static, R: Send + 'static>(
        &self,
        prepare: impl Fn(&State, &Ambient<'_>) -> Result<P, Refusal> + Send + Sync + 'static,
        decide: fn(&State, &P, &Ambient<'_>) -> Result<Verdict<R>, Refusal>,
    ) -> Result<R, Refusal> {
        let (turn, prepare) = (take_turn(&self.preparing_manifest).await?, Arc::new(prepare));
        if let Some(reply) = self.attempt(&turn, Effort::Much, &prepare, decide).await? {
            return Ok(reply);
        }
        let all = u32::try_from(PREPARING_AT_ONCE).unwrap_or(u32::MAX);
        let _writers = self
            .writing_secrets
            .acquire_many(all)
            .await
            .map_err(Refusal::internal)?;
        for _ in 1..ATTEMPTS {
            if let Some(reply) = self.attempt(&turn, Effort::Much, &prepare, decide).await? {
                return Ok(reply);
            }
        }
        Err(changing())
    }

    /// Prepares and has the keeper decide; `None`: what was prepared is stale.
    async fn attempt<P: Send + 'static, R: Send + 'static>(
        &self,
        turn: &Arc<OwnedSemaphorePermit>,
        effort: Effort,
        prepare: &Arc<impl Fn(&State, &Ambient<'_>) -> Result<P, Refusal> + Send + Sync + 'static>,
        decide: fn(&State, &P, &Ambient<'_>) -> Result<Verdict<R>, Refusal>,
    ) -> Result<Option<R>, Refusal> {
        let (prepare, turn) = (Arc::clone(prepare), Arc::clone(turn));
        let prepared = self.prepare(effort, move |state, ambient| {
            let prepared = prepare(state, ambient);
            drop(turn);
            prepared
        });
        self.decide(prepared.await?, decide).await
    }

    /// Prepares against the published state: with little effort at once, otherwise off the async threads. There it gives
    /// up before the next key when the caller has gone away, or when the phase is another than the one it began in.
    pub(super) async fn prepare<T: Send + 'static>(
        &self,
        effort: Effort,
        flow: impl FnOnce(&State, &Ambient<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        if effort == Effort::Little {
            let ambient = Ambient {
                now: now(),
                dice: &*self.dice,
            };
            return flow(&self.snapshot(), &ambient);
        }
        let (state, dice, keeper) = (self.snapshot(), Arc::clone(&self.dice), self.keeper.clone());
        let caller = Arc::new(());
        let waiting = Arc::downgrade(&caller);
        let prepared = tokio::task::spawn_blocking(move || {
            let is_wanted = || waiting.strong_count() > 0 && keeper.snapshot().phase() == state.phase();
            let dice = WantedDice {
                dice: &*dice,
                is_wanted,
            };
            flow(
                &state,
                &Ambient {
                    now: now(),
                    dice: &dice,
                },
            )
        })
        .await;
        drop(caller);
        prepared.map_err(|error| Refusal::internal(format_args!("preparing failed: {error}")))?
    }

    pub(super) async fn decide<T: Send + 'static, R: Send + 'static>(
        &self,
        prepared: T,
        flow: impl FnOnce(&State, &T, &Ambient<'_>) -> Result<Verdict<R>, Refusal> + Send + 'static,
    ) -> Result<Option<R>, Refusal> {
        let dice = Arc::clone(&self.dice);
        self.keeper
            .decide(move |state| {
                flow(
                    state,
                    &prepared,
                    &Ambient {
                        now: now(),
                        dice: &*dice,
                    },
                )
            })
            .await
    }
}

/// A turn goes with the work: whoever asked may go away in the middle, and the work then still takes its place.
pub(super) async fn take_turn(turns: &Arc<Semaphore>) -> Result<Arc<OwnedSemaphorePermit>, Refusal> {
    let turn = Arc::clone(turns).acquire_owned().await;
    turn.map(Arc::new).map_err(Refusal::internal)
}

pub(super) fn changing() -> Refusal {
    Refusal::new(RefusalKind::Conflict, "the deployment is changing; try again")
}
