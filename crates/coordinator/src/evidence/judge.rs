//! Judging the evidence of others: collateral is obtained, then the verifier decides (`spec/08`).
//!
//! Nothing waits for another platform here: there is no lock over verification, and who waits for collateral holds
//! nothing that others need. Whether claims comply with a manifest is the next question, and one of the rules.

use std::sync::Arc;
use std::time::Instant;

use marblerun_attestation::{
    Admission, Claims, CollateralNeeded, ProductionRoots, Quote, Reason, Refused, ReportBinding,
    SimulationMode, SimulationRoots, Step, TrustRoots, UnixSeconds, Verified, Verifier,
};
use marblerun_collateral::{Asker, CollateralError, Collaterals, Freshness, Obtained};
use marblerun_core::refusal::{Refusal, RefusalKind};
use tokio::sync::Semaphore;

use crate::config::LogLevel;
use crate::observe::at_level;
use crate::observe::metrics::metrics;
use crate::service::now;

/// Evidence of platforms that are not remembered, verified at a time: it costs more than that of others.
const AT_FIRST_SIGHT: usize = 16;

/// What a caller learns when evidence cannot be judged for reasons that are not its own.
const NOT_NOW: &str = "evidence cannot be verified at present; try again";

/// Why evidence was not verified.
#[derive(Debug, thiserror::Error)]
pub enum NotVerified {
    /// Verification failed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no collateral to verify it with.
    #[error("no collateral: {0}")]
    NoCollateral(#[from] CollateralError),
    /// The verification broke off.
    #[error("verification broke off: {0}")]
    BrokeOff(String),
}

impl NotVerified {
    /// Whether it is about collateral or ourselves: none of that is told to who asks (`spec/08`).
    fn is_ours(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.is_about_collateral(),
            Self::NoCollateral(error) => !error.is_about_evidence(),
            Self::BrokeOff(_) => true,
        }
    }

    /// As callers and the log may read it: `what` was to be verified, `about` says more of it to the log.
    pub fn into_refusal(self, what: &str, kind: RefusalKind, about: &dyn std::fmt::Display) -> Refusal {
        if self.is_ours() {
            // Whoever asked is told nothing of it, so that the log has to.
            at_level!(LogLevel::Warn, reason = %self, what, "evidence cannot be verified");
            return Refusal::new(RefusalKind::Unavailable, NOT_NOW)
                .with_detail(format_args!("{what}, {about}: {self}"));
        }
        Refusal::new(kind, format!("{what}: {self}")).with_detail(about)
    }
}

/// Verifies evidence below one set of roots.
pub struct Appraiser<R> {
    inner: Arc<Inner<R>>,
}

struct Inner<R> {
    verifier: Verifier<R>,
    collaterals: Collaterals,
    first_sight: Semaphore,
}

impl<R: TrustRoots + Send + Sync + 'static> Appraiser<R> {
    /// Below `roots`, with collateral from `collaterals`.
    pub fn new(roots: R, collaterals: Collaterals) -> Self {
        let inner = Inner {
            verifier: Verifier::new(roots),
            collaterals,
            first_sight: Semaphore::new(AT_FIRST_SIGHT),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The first step is whether evidence is no larger than evidence can be.
    async fn verify_bytes(
        &self,
        quote: Vec<u8>,
        binding: ReportBinding,
        asker: Asker,
    ) -> Result<Verified<Claims, R>, NotVerified> {
        let quote = Quote::new(quote).map_err(|error| Refused {
            step: Step::Format,
            reason: Box::new(Reason::Unrecognised(error)),
        })?;
        self.verify(quote, binding, asker).await
    }

    async fn verify(
        &self,
        quote: Quote,
        binding: ReportBinding,
        asker: Asker,
    ) -> Result<Verified<Claims, R>, NotVerified> {
        let inner = &self.inner;
        // The usual case: the platform was seen before and its collateral is at hand.
        if let Some(needed) = inner.verifier.collateral_remembered(&quote) {
            return inner.verify_with(&quote, &binding, &needed, asker).await;
        }
        let broke_off = |error: &dyn std::fmt::Display| NotVerified::BrokeOff(error.to_string());
        let turn = inner
            .first_sight
            .acquire()
            .await
            .map_err(|error| broke_off(&error))?;
        let (shared, quote) = (Arc::clone(inner), Arc::new(quote));
        let looked_at = Arc::clone(&quote);
        let needed = tokio::task::spawn_blocking(move || {
            shared.verifier.collateral_needed(&looked_at, &binding, moment())
        })
        .await
        .map_err(|error| broke_off(&error))??;
        // Whoever waits for a service keeps nobody from being verified.
        drop(turn);
        let obtained = inner.obtain(&needed, asker).await?;
        let _turn = inner
            .first_sight
            .acquire()
            .await
            .map_err(|error| broke_off(&error))?;
        let shared = Arc::clone(inner);
        tokio::task::spawn_blocking(move || shared.decide(&quote, &binding, &obtained))
            .await
            .map_err(|error| broke_off(&error))?
            .map_err(NotVerified::Refused)
    }
}

impl<R: TrustRoots> Inner<R> {
    async fn obtain(&self, needed: &CollateralNeeded, asker: Asker) -> Result<Obtained, NotVerified> {
        let obtained = self.collaterals.get(needed, asker).await?;
        if let Freshness::Stale { since } = obtained.freshness {
            tracing::warn!(%since, "collateral is out of date and used within its grace");
        }
        Ok(obtained)
    }

    async fn verify_with(
        &self,
        quote: &Quote,
        binding: &ReportBinding,
        needed: &CollateralNeeded,
        asker: Asker,
    ) -> Result<Verified<Claims, R>, NotVerified> {
        let obtained = self.obtain(needed, asker).await?;
        Ok(self.decide(quote, binding, &obtained)?)
    }

    fn decide(
        &self,
        quote: &Quote,
        binding: &ReportBinding,
        obtained: &Obtained,
    ) -> Result<Verified<Claims, R>, Refused> {
        let began = Instant::now();
        let policy = self.collaterals.policy();
        let verified = self
            .verifier
            .verify_by_policy(quote, binding, &obtained.collateral, moment(), policy);
        metrics().quote_verified(began.elapsed());
        verified
    }
}

/// By what evidence is judged in this run. Roots of hardware and of the software TEE are never there together.
pub enum Judge {
    /// By the roots of the manufacturers.
    Hardware(Appraiser<ProductionRoots>),
    /// By those of the software TEE; nothing unverified is admitted.
    Strict(Appraiser<SimulationRoots>),
    /// By those of the software TEE, to say what came of it; everybody is admitted.
    Lenient(SimulationMode, Appraiser<SimulationRoots>),
}

impl Judge {
    /// By what a marble is admitted that presented `certificate` (DER) and sent `quote`. In lenient simulation that
    /// is simulation itself, whatever it sent. `asker`: who it is.
    ///
    /// # Errors
    /// `Denied` with the step, what was found and what was expected; `Unavailable` when it cannot be judged now.
    pub async fn admit(
        &self,
        quote: Vec<u8>,
        certificate: &[u8],
        asker: Asker,
    ) -> Result<Admission, Refusal> {
        const WHAT: &str = "marble verification failed: evidence";
        let size = quote.len();
        let refused =
            |error: NotVerified| error.into_refusal(WHAT, RefusalKind::Denied, &format_args!("{size} bytes"));
        let binding = ReportBinding::certificate(certificate);
        match self {
            Self::Hardware(appraiser) => {
                let verified = appraiser.verify_bytes(quote, binding, asker).await;
                verified.map(Admission::Verified).map_err(refused)
            }
            Self::Strict(appraiser) => {
                let verified = appraiser.verify_bytes(quote, binding, asker).await;
                verified.map(Admission::VerifiedInSimulation).map_err(refused)
            }
            Self::Lenient(simulation, appraiser) => {
                if size > 0 {
                    say_what_came_of(appraiser.verify_bytes(quote, binding, asker).await);
                }
                Ok(Admission::Simulated(*simulation))
            }
        }
    }

    /// What a quote claims that somebody else presents, bound to whatever it says.
    ///
    /// # Errors
    /// As the verification.
    pub async fn claims_of(&self, quote: Quote) -> Result<Claims, NotVerified> {
        let data = quote.unverified_report_data().ok().flatten().unwrap_or([0; 64]);
        let binding = ReportBinding::report_data_itself(data);
        match self {
            Self::Hardware(appraiser) => appraiser
                .verify(quote, binding, Asker::Stranger)
                .await
                .map(Verified::into_inner),
            Self::Strict(appraiser) | Self::Lenient(_, appraiser) => appraiser
                .verify(quote, binding, Asker::Stranger)
                .await
                .map(Verified::into_inner),
        }
    }

    /// Keeps collateral fresh, for as long as the Coordinator runs.
    pub fn collaterals(&self) -> &Collaterals {
        match self {
            Self::Hardware(appraiser) => &appraiser.inner.collaterals,
            Self::Strict(appraiser) | Self::Lenient(_, appraiser) => &appraiser.inner.collaterals,
        }
    }
}

fn say_what_came_of(verified: Result<Verified<Claims, SimulationRoots>, NotVerified>) {
    match verified {
        Ok(verified) => {
            tracing::debug!(claims = ?verified.get(), "the evidence of a simulated marble is in order");
        }
        Err(error) => {
            tracing::warn!(reason = %error, "a marble is admitted although its evidence was not verified");
        }
    }
}

/// The Coordinator's clock, as evidence is judged by.
pub(crate) fn moment() -> UnixSeconds {
    UnixSeconds(u64::try_from(now().unix_seconds()).unwrap_or_default())
}
