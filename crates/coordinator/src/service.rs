//! What the Coordinator does when it is asked: prepares in parallel, has the keeper decide, tries again when what
//! was prepared has become stale. The APIs at the edge translate, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use marblerun_attestation::Admission;
use marblerun_core::ambient::{Ambient, Dice, Timestamp};
use marblerun_core::decision::{Decision, Prepared, Verdict};
use marblerun_core::flow::sign_quote::{self, SignedQuote};
use marblerun_core::flow::{activate, counter, read_secrets, set_manifest, update_manifest, write_secrets};
use marblerun_core::manifest::{HsmEnvironment, Limits, Name};
use marblerun_core::phase::Phase;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_core::secret::upload::Upload;
use marblerun_core::state::State;
use rustls_pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::keeper::Keeper;
use crate::recovery::{Desk, RecoverRefusal};
use crate::wanted::WantedDice;

/// How often something is prepared again before the caller is told to come back.
const ATTEMPTS: usize = 3;
/// Activations being prepared at the same time; more would only compete for the processors. As many requests of users
/// and marbles that take little.
const PREPARING_AT_ONCE: usize = 64;

/// The Coordinator behind its APIs. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    keeper: Keeper,
    dice: Arc<dyn Dice>,
    limits: Limits,
    hsm_environment: Arc<HsmEnvironment>,
    /// Manifests cost much, and the first one comes from strangers: one at a time, updates too.
    preparing_manifest: Arc<Semaphore>,
    preparing_marbles: Arc<Semaphore>,
    preparing_requests: Arc<Semaphore>,
    /// Where recovery secrets are handed in, if the start found a state that does not open.
    recovery: Option<Arc<Desk>>,
    /// Who writes secrets has one; an update that writers made stale takes all of them.
    writing_secrets: Arc<Semaphore>,
}

/// The certificate a caller presented in the handshake, if any.
pub type Leaf = Option<CertificateDer<'static>>;

/// A manifest that a user sends, to propose it or to acknowledge it.
pub struct SentManifest<B> {
    /// Who sends it.
    pub leaf: Leaf,
    /// The manifest's bytes.
    pub raw: B,
    /// Whether the answer has room for recovery secrets.
    pub may_yield_recovery_secrets: bool,
}

/// A marble's request as it came in, with what its evidence was found to be.
pub struct ActivationRequest {
    /// The marble type.
    pub marble_type: String,
    /// The marble's UUID as it wrote it.
    pub uuid: String,
    /// A PKCS#10 request, DER.
    pub csr: Vec<u8>,
    /// By what its evidence is admitted.
    pub admission: Admission,
    /// Refuses what could not be sent, before anything is spent for it.
    pub fits: fn(&activate::Parameters) -> Result<(), Refusal>,
}

impl Service {
    /// Puts the Coordinator together.
    pub fn new(keeper: Keeper, dice: Arc<dyn Dice>, limits: Limits, hsm_environment: HsmEnvironment) -> Self {
        Self {
            keeper,
            dice,
            limits,
            hsm_environment: Arc::new(hsm_environment),
            preparing_manifest: Arc::new(Semaphore::new(1)),
            preparing_marbles: Arc::new(Semaphore::new(PREPARING_AT_ONCE)),
            preparing_requests: Arc::new(Semaphore::new(PREPARING_AT_ONCE)),
            recovery: None,
            writing_secrets: Arc::new(Semaphore::new(PREPARING_AT_ONCE)),
        }
    }

    /// The same, with a state that waits for recovery.
    #[must_use]
    pub fn with_recovery(self, recovery: Option<Arc<Desk>>) -> Self {
        Self { recovery, ..self }
    }

    /// The published state.
    pub fn snapshot(&self) -> Arc<State> {
        self.keeper.snapshot()
    }

    /// The limits manifests are held to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets the first manifest. `keep` sees the recovery secrets before the decision: if it refuses, nothing
    /// happens, so that they cannot be lost while the state is kept.
    ///
    /// # Errors
    /// As [`set_manifest::prepare`] and [`set_manifest::decide`]; `Unavailable` when it cannot be made durable.
    pub async fn set_manifest(
        &self,
        raw: impl AsRef<[u8]> + Send + Sync + 'static,
        keep: impl Fn(&BTreeMap<Name, Vec<u8>>) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Result<set_manifest::ManifestSet, Refusal> {
        // Refused before it waits in line: in any other phase this costs a stranger nothing but the asking.
        set_manifest::check_phase(&self.snapshot())?;
        let (limits, environment) = (self.limits, Arc::clone(&self.hsm_environment));
        let prepare = move |state: &State, ambient: &Ambient<'_>| {
            let prepared = set_manifest::prepare(state, raw.as_ref(), &limits, &environment, ambient)?;
            keep(prepared.value.recovery_secrets())?;
            Ok(prepared)
        };
        self.settle(&self.preparing_manifest, prepare, set_manifest::decide)
            .await
    }

    /// Proposes an update: of packages alone, which applies at once, or of the manifest.
    ///
    /// # Errors
    /// As [`update_manifest::prepare`] and [`update_manifest::decide`]; `Unavailable` when it cannot be made durable.
    pub async fn propose_update(
        &self,
        sent: SentManifest<impl AsRef<[u8]> + Send + Sync + 'static>,
    ) -> Result<update_manifest::Outcome, Refusal> {
        let (limits, environment) = (self.limits, Arc::clone(&self.hsm_environment));
        let prepare = move |state: &State, ambient: &Ambient<'_>| {
            update_manifest::prepare(state, &sent.request(&limits, &environment), ambient)
        };
        self.settle_update(prepare, update_manifest::decide).await
    }

    /// Acknowledges the pending update of the manifest.
    ///
    /// # Errors
    /// As [`update_manifest::prepare_acknowledgement`] and [`update_manifest::decide_acknowledgement`]; `Unavailable`
    /// when it cannot be made durable.
    pub async fn acknowledge_update(
        &self,
        sent: SentManifest<impl AsRef<[u8]> + Send + Sync + 'static>,
    ) -> Result<update_manifest::Outcome, Refusal> {
        let (limits, environment) = (self.limits, Arc::clone(&self.hsm_environment));
        let prepare = move |state: &State, ambient: &Ambient<'_>| {
            update_manifest::prepare_acknowledgement(state, &sent.request(&limits, &environment), ambient)
        };
        let decide = update_manifest::decide_acknowledgement;
        self.settle_update(prepare, decide).await
    }

    /// Cancels the pending update of the manifest.
    ///
    /// # Errors
    /// As [`update_manifest::prepare_cancellation`] and [`update_manifest::decide_cancellation`]; `Unavailable` when it
    /// cannot be made durable.
    pub async fn cancel_update(&self, leaf: Leaf) -> Result<(), Refusal> {
        let prepare = move |state: &State, _: &Ambient<'_>| {
            update_manifest::prepare_cancellation(state, leaf.as_deref())
        };
        let decide = update_manifest::decide_cancellation;
        self.settle(&self.preparing_requests, prepare, decide).await
    }

    /// Reads secrets of the published state.
    ///
    /// # Errors
    /// As [`read_secrets::read`].
    pub fn read_secrets(&self, leaf: &Leaf, names: &[Name]) -> Result<read_secrets::SecretsRead, Refusal> {
        read_secrets::read(&self.snapshot(), leaf.as_deref(), names)
    }

    /// Writes user-defined secrets: all of them or none.
    ///
    /// # Errors
    /// As [`write_secrets::prepare`] and [`write_secrets::decide`]; `Unavailable` when they cannot be made durable.
    pub async fn write_secrets(
        &self,
        leaf: Leaf,
        uploads: BTreeMap<Name, Upload>,
    ) -> Result<write_secrets::SecretsWritten, Refusal> {
        let prepare =
            move |state: &State, _: &Ambient<'_>| write_secrets::prepare(state, leaf.as_deref(), &uploads);
        self.settle(&self.writing_secrets, prepare, write_secrets::decide)
            .await
    }

    /// Raises a counter of a marble.
    ///
    /// # Errors
    /// As [`counter::prepare`] and [`counter::decide`]; `Unavailable` when it cannot be made durable.
    pub async fn raise_counter(
        &self,
        leaf: Leaf,
        name: String,
        value: u64,
    ) -> Result<counter::CounterRaised, Refusal> {
        let prepare =
            move |state: &State, _: &Ambient<'_>| counter::prepare(state, leaf.as_deref(), &name, value);
        self.settle(&self.preparing_requests, prepare, |state, prepared, _| {
            counter::decide(state, prepared)
        })
        .await
    }

    /// Verifies an SGX quote and signs what came of it. In simulation there is nothing to verify quotes with, so that
    /// none is verifiable.
    ///
    /// # Errors
    /// As [`sign_quote::examine`]; `Malformed` for a quote that is not verifiable.
    pub fn sign_quote(&self, quote: Vec<u8>) -> Result<SignedQuote, Refusal> {
        sign_quote::examine(&self.snapshot(), quote)?;
        Err(sign_quote::not_verifiable(
            "this Coordinator runs in simulation, where quotes cannot be verified",
        ))
    }

    /// Hands a recovery secret in, with its signature. Answers how many are still missing; 0: recovered.
    ///
    /// # Errors
    /// [`RecoverRefusal`]
    pub async fn recover(&self, secret: &[u8], signature: &[u8]) -> Result<usize, RecoverRefusal> {
        self.recovery_desk()?
            .hand_in(&self.keeper, secret, signature)
            .await
    }

    /// The public key that recovery secrets may be encrypted for, PKIX DER.
    ///
    /// # Errors
    /// `WrongPhase`, or `Internal` if it could not be made.
    pub async fn recovery_public_key(&self) -> Result<Arc<[u8]>, Refusal> {
        self.recovery_desk()?.public_key().await
    }

    /// Where recovery secrets are handed in.
    ///
    /// # Errors
    /// `WrongPhase` if nothing waits for recovery.
    pub fn recovery_desk(&self) -> Result<&Desk, Refusal> {
        let waiting = self.snapshot().phase() == Phase::Recovery;
        let desk = self.recovery.as_deref().filter(|_| waiting);
        desk.ok_or_else(Refusal::wrong_phase)
    }

    /// Activates a marble.
    ///
    /// # Errors
    /// As [`activate::prepare`] and [`activate::decide`]; `Unavailable` when the spent budget cannot be made
    /// durable.
    pub async fn activate(&self, request: ActivationRequest) -> Result<activate::Activated, Refusal> {
        let turn = take_turn(&self.preparing_marbles).await?;
        let request = Arc::new(request);
        for _ in 0..ATTEMPTS {
            let (request, turn) = (Arc::clone(&request), Arc::clone(&turn));
            let prepare = move |state: &State, ambient: &Ambient<'_>| {
                let asked = activate::Request {
                    marble_type: &request.marble_type,
                    uuid: &request.uuid,
                    csr: &request.csr,
                    admission: &request.admission,
                };
                let prepared = activate::prepare(state, asked, ambient)?;
                (request.fits)(prepared.value.parameters())?;
                drop(turn);
                // With nothing to keep, the snapshot it was prepared on decides, without the writer.
                let verdict = activate::decide(state, &prepared)?;
                Ok(match verdict {
                    Verdict::Decided(Decision { changes, reply }) if changes.is_empty() => Err(reply),
                    Verdict::Decided(_) | Verdict::Stale => Ok(prepared),
                })
            };
            let prepared = match self.prepare(prepare).await? {
                Ok(prepared) => prepared,
                Err(activated) => return Ok(activated),
            };
            let decide =
                |state: &State, prepared: &Prepared<_>, _: &Ambient<'_>| activate::decide(state, prepared);
            if let Some(activated) = self.decide(prepared, decide).await? {
                return Ok(activated);
            }
        }
        Err(changing())
    }

    /// Prepares in a turn of its own and has the keeper decide, again as long as what was prepared has become stale.
    async fn settle<P: Send + 'static, R: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        prepare: impl Fn(&State, &Ambient<'_>) -> Result<P, Refusal> + Send + Sync + 'static,
        decide: fn(&State, &P, &Ambient<'_>) -> Result<Verdict<R>, Refusal>,
    ) -> Result<R, Refusal> {
        let (turn, prepare) = (take_turn(turns).await?, Arc::new(prepare));
        for _ in 0..ATTEMPTS {
            if let Some(reply) = self.attempt(&turn, &prepare, decide).await? {
                return Ok(reply);
            }
        }
        Err(changing())
    }

    /// Settles an update. It rests on uploaded secrets and takes longer than writing them: when writers were faster,
    /// the next attempts wait for those who write and let nobody else begin, so that it gets its turn.
    async fn settle_update<P: Send + 'static, R: Send + 'static>(
        &self,
        prepare: impl Fn(&State, &Ambient<'_>) -> Result<P, Refusal> + Send + Sync + 'static,
        decide: fn(&State, &P, &Ambient<'_>) -> Result<Verdict<R>, Refusal>,
    ) -> Result<R, Refusal> {
        let (turn, prepare) = (take_turn(&self.preparing_manifest).await?, Arc::new(prepare));
        if let Some(reply) = self.attempt(&turn, &prepare, decide).await? {
            return Ok(reply);
        }
        let all = u32::try_from(PREPARING_AT_ONCE).unwrap_or(u32::MAX);
        let _writers = self
            .writing_secrets
            .acquire_many(all)
            .await
            .map_err(Refusal::internal)?;
        for _ in 1..ATTEMPTS {
            if let Some(reply) = self.attempt(&turn, &prepare, decide).await? {
                return Ok(reply);
            }
        }
        Err(changing())
    }

    /// Prepares and has the keeper decide; `None`: what was prepared is stale.
    async fn attempt<P: Send + 'static, R: Send + 'static>(
        &self,
        turn: &Arc<OwnedSemaphorePermit>,
        prepare: &Arc<impl Fn(&State, &Ambient<'_>) -> Result<P, Refusal> + Send + Sync + 'static>,
        decide: fn(&State, &P, &Ambient<'_>) -> Result<Verdict<R>, Refusal>,
    ) -> Result<Option<R>, Refusal> {
        let (prepare, turn) = (Arc::clone(prepare), Arc::clone(turn));
        let prepared = self.prepare(move |state, ambient| {
            let prepared = prepare(state, ambient);
            drop(turn);
            prepared
        });
        self.decide(prepared.await?, decide).await
    }

    /// Prepares against the published state, off the async threads: it may make keys. It gives up before the next key
    /// when the caller has gone away, or when the phase is another than the one it began in.
    async fn prepare<T: Send + 'static>(
        &self,
        flow: impl FnOnce(&State, &Ambient<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
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

    async fn decide<T: Send + 'static, R: Send + 'static>(
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

impl<B: AsRef<[u8]>> SentManifest<B> {
    fn request<'a>(
        &'a self,
        limits: &'a Limits,
        environment: &'a HsmEnvironment,
    ) -> update_manifest::Request<'a> {
        update_manifest::Request {
            leaf: self.leaf.as_deref(),
            raw: self.raw.as_ref(),
            may_yield_recovery_secrets: self.may_yield_recovery_secrets,
            limits,
            environment,
        }
    }
}

/// A turn goes with the work: whoever asked may go away in the middle, and the work then still takes its place.
async fn take_turn(turns: &Arc<Semaphore>) -> Result<Arc<OwnedSemaphorePermit>, Refusal> {
    let turn = Arc::clone(turns).acquire_owned().await;
    turn.map(Arc::new).map_err(Refusal::internal)
}

fn changing() -> Refusal {
    Refusal::new(RefusalKind::Conflict, "the deployment is changing; try again")
}

/// The clock of the Coordinator.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
