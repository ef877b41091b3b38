//! What the Coordinator does when it is asked: prepares in parallel, has the keeper decide, tries again when what
//! was prepared has become stale. The APIs at the edge translate, and nothing else.

mod settle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::SystemTime;

use marblerun_attestation::{Admission, Claims};
use marblerun_core::ambient::{Ambient, Dice, Timestamp};
use marblerun_core::decision::{Decision, Prepared, Verdict};
use marblerun_core::flow::effort::Effort;
use marblerun_core::flow::sign_quote::{self, SignedQuote};
use marblerun_core::flow::{
    activate, counter, export_state, read_secrets, set_manifest, update_manifest, write_secrets,
};
use marblerun_core::manifest::{HsmEnvironment, Limits, Name};
use marblerun_core::phase::Phase;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_core::secret::upload::Upload;
use marblerun_core::state::State;
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;

use crate::evidence::{Judge, OwnEvidence};
use crate::keeper::Keeper;
use crate::recovery::{Desk, RecoverRefusal};
use settle::{changing, take_turn};

/// How often something is prepared again before the caller is told to come back.
const ATTEMPTS: usize = 3;
/// Requests of users and marbles being prepared at the same time.
const PREPARING_AT_ONCE: usize = 64;
/// Activations that take long, for each processor; more would only compete for it.
const LONG_ACTIVATIONS: usize = 2;

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
    judge: Arc<Judge>,
    own_evidence: Arc<OwnEvidence>,
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
    pub fn new(
        keeper: Keeper,
        dice: Arc<dyn Dice>,
        limits: Limits,
        hsm_environment: HsmEnvironment,
        judge: Judge,
        own_evidence: OwnEvidence,
    ) -> Self {
        let processors = available_parallelism().map_or(1, usize::from).min(8);
        Self {
            keeper,
            dice,
            limits,
            hsm_environment: Arc::new(hsm_environment),
            preparing_manifest: Arc::new(Semaphore::new(1)),
            preparing_marbles: Arc::new(Semaphore::new(LONG_ACTIVATIONS * processors)),
            preparing_requests: Arc::new(Semaphore::new(PREPARING_AT_ONCE)),
            recovery: None,
            judge: Arc::new(judge),
            own_evidence: Arc::new(own_evidence),
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

    /// Judges the evidence of others.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Evidence about this Coordinator.
    pub fn own_evidence(&self) -> &Arc<OwnEvidence> {
        &self.own_evidence
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
        self.settle(
            &self.preparing_manifest,
            Effort::Much,
            prepare,
            set_manifest::decide,
        )
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
        self.settle(&self.preparing_requests, Effort::Little, prepare, decide)
            .await
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
        let effort = Effort::of_uploads(self.snapshot().manifest().map(AsRef::as_ref), &uploads);
        let prepare =
            move |state: &State, _: &Ambient<'_>| write_secrets::prepare(state, leaf.as_deref(), &uploads);
        self.settle(&self.writing_secrets, effort, prepare, write_secrets::decide)
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
        self.settle(
            &self.preparing_requests,
            Effort::Little,
            prepare,
            |state, prepared, _| counter::decide(state, prepared),
        )
        .await
    }

    /// Verifies an SGX quote and signs what came of it.
    ///
    /// # Errors
    /// As [`sign_quote::examine`]; `Malformed` for a quote that is not verifiable, `Unavailable` when that cannot be
    /// said now.
    pub async fn sign_quote(&self, quote: Vec<u8>) -> Result<SignedQuote, Refusal> {
        let posted = sign_quote::examine(&self.snapshot(), quote)?;
        let claims = self
            .judge
            .claims_of(posted.quote().clone())
            .await
            .map_err(|error| {
                error.into_refusal(
                    "the quote is not verifiable",
                    RefusalKind::Malformed,
                    &"sign-quote",
                )
            })?;
        let Claims::Sgx(claims) = claims else {
            return Err(sign_quote::not_verifiable("expected an SGX quote"));
        };
        let ambient = Ambient {
            now: now(),
            dice: &*self.dice,
        };
        sign_quote::sign(&self.snapshot(), &posted, claims.tcb_status, &ambient)
    }

    /// The published state in the format of the original.
    ///
    /// # Errors
    /// As [`export_state::export`].
    pub async fn export_state(&self, leaf: Leaf) -> Result<export_state::StateExported, Refusal> {
        // It may have to make keys, as a manifest has.
        let turn = take_turn(&self.preparing_manifest).await?;
        self.prepare(Effort::Much, move |state: &State, ambient: &Ambient<'_>| {
            let exported = export_state::export(state, leaf.as_deref(), ambient);
            drop(turn);
            exported
        })
        .await
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
        let effort = Effort::of_activation(
            self.snapshot().manifest().map(AsRef::as_ref),
            &request.marble_type,
        );
        let turn = match effort {
            Effort::Little => None,
            Effort::Much => Some(take_turn(&self.preparing_marbles).await?),
        };
        let request = Arc::new(request);
        for _ in 0..ATTEMPTS {
            let (request, turn) = (Arc::clone(&request), turn.clone());
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
            let prepared = match self.prepare(effort, prepare).await? {
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

/// The clock of the Coordinator.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
