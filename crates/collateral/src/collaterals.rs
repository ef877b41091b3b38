//! What callers use: [`Collaterals::get`], and [`Collaterals::keep_fresh`] in the background.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use marblerun_attestation::collateral::CollateralNeeded;
use marblerun_attestation::{Collateral, FreshnessPolicy, TrustRoots, UnixSeconds};

use crate::Clock;
use crate::config::{Config, StartError};
use crate::error::CollateralError;
use crate::flight::{Gate, Inner};
use crate::piece::{Key, Piece};
use crate::stats::Stats;

/// Collateral, fetched when it is needed for the first time and kept from then on. Cheap to clone; clones share what is
/// kept.
#[derive(Clone)]
pub struct Collaterals {
    inner: Arc<Inner>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Anybody: peers that have not shown who they are. They may have one new platform a second fetched, of each
    /// manufacturer, all of them together.
    Stranger,
    /// Likewise, at this address. Whoever at another address had a turn longer ago and was turned away a moment ago goes
    /// first.
    Peer(IpAddr),
    /// Whoever runs this program, or a user it knows.
    Trusted,
}

/// Collateral, and whether it is in force.
#[derive(Debug, Clone)]
pub struct Obtained {
    /// To be verified with the evidence, by [`Collaterals::policy`].
    pub collateral: Arc<Collateral>,
    /// Say so wherever the outcome is told, when it is out of date.
    pub freshness: Freshness,
}

/// Whether collateral is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// In force.
    Fresh,
    /// Out of date within the configured grace, and no newer one was to be had.
    Stale {
        /// `nextUpdate`.
        since: UnixSeconds,
    },
}

impl Freshness {
    /// The worse of two.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stale { since: one }, Self::Stale { since: other }) => Self::Stale {
                since: one.min(other),
            },
            (stale @ Self::Stale { .. }, Self::Fresh) | (Self::Fresh, stale) => stale,
        }
    }
}

impl Collaterals {
    /// Reads the directory, if there is one, and fetches nothing. What is fetched later is checked below `roots` before
    /// it is kept.
    ///
    /// # Errors
    /// The directory cannot be read, or something configured cannot be used.
    pub fn new<R: TrustRoots>(config: Config, roots: R, clock: Clock) -> Result<Self, StartError> {
        let inner = Inner::new(config, roots, clock)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The collateral needed. What is kept and in force comes at once. Else it is fetched, once for all who wait for it.
    /// Has to be called within a tokio runtime; dropping the future does not end the fetch.
    ///
    /// # Errors
    /// There is none, and none out of date within the grace. The same request fails with the same error for
    /// [`crate::Limits::retry_after`].
    pub async fn get(&self, needed: &CollateralNeeded, asker: Asker) -> Result<Obtained, CollateralError> {
        let mut gate = Gate::new(asker);
        let obtained = match needed {
            CollateralNeeded::Dcap(needed) => {
                let held = self.inner.piece(Key::Dcap(*needed), &mut gate).await?;
                let Piece::Dcap(collateral) = &held.dated.piece else {
                    return Err(CollateralError::Interrupted);
                };
                Obtained {
                    collateral: Arc::clone(collateral),
                    freshness: held.freshness,
                }
            }
            CollateralNeeded::Snp(needed) => self.inner.snp(needed, &mut gate).await?,
        };
        if obtained.freshness != Freshness::Fresh {
            self.inner.count_stale();
        }
        Ok(obtained)
    }

    /// The policy that was configured, for [`marblerun_attestation::Verifier::verify_by_policy`].
    pub fn policy(&self) -> FreshnessPolicy {
        self.inner.policy()
    }

    /// Keeps everything fresh: once a minute the directory is looked at and what is due is fetched. Never returns.
    pub async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.refresh_due().await;
        }
    }

    /// One turn of [`Collaterals::keep_fresh`]; returns when everything that was due is fetched or has failed.
    pub async fn refresh_due(&self) {
        self.inner.refresh_due().await;
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

impl std::fmt::Debug for Collaterals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Collaterals").finish_non_exhaustive()
    }
}
