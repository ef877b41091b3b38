//! Numbers for metrics. All labels are words of this crate, so there are few.

use std::collections::HashMap;

use marblerun_attestation::UnixSeconds;

use crate::cache::Cache;

/// What is held, and what was fetched since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// By TEE: `sgx`, `tdx`, `snp`. Only those of which something is held.
    pub held: Vec<HeldStats>,
    /// By origin and outcome; only those that occurred.
    pub fetches: Vec<FetchStats>,
    /// Failures remembered at the moment.
    pub failures: usize,
    /// Fetches at the moment.
    pub fetching: usize,
    /// Requests of strangers turned away since the start: too many new platforms.
    pub turned_away: u64,
    /// Requests answered with collateral out of date since the start.
    pub answered_stale: u64,
}

/// What is held for one TEE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldStats {
    /// `sgx`, `tdx` or `snp`.
    pub tee: &'static str,
    /// Pieces of collateral.
    pub pieces: usize,
    /// Of these, out of date.
    pub stale: usize,
    /// Seconds since the one that was fetched longest ago, endorsement keys of AMD left out: they do not change.
    pub oldest: u64,
    /// The first `nextUpdate`.
    pub next_update: Option<UnixSeconds>,
}

/// How often something was fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchStats {
    /// `pccs`, `kds`, `directory` or `software_tee`.
    pub origin: &'static str,
    /// `ok`, or [`crate::CollateralError::kind`].
    pub outcome: &'static str,
    /// How often.
    pub count: u64,
}

/// Counts since the start.
#[derive(Default)]
pub(crate) struct Counts {
    fetches: HashMap<(&'static str, &'static str), u64>,
    pub(crate) turned_away: u64,
    pub(crate) answered_stale: u64,
}

impl Counts {
    pub(crate) fn fetched(&mut self, origin: &'static str, outcome: &'static str) {
        *self.fetches.entry((origin, outcome)).or_default() += 1;
    }

    pub(crate) fn stats(&self, cache: &Cache, fetching: usize, now: UnixSeconds) -> Stats {
        let mut held: Vec<HeldStats> = Vec::new();
        for (key, entry) in cache.entries() {
            let tee = key.tee();
            let known = held.iter().position(|one| one.tee == tee);
            let index = known.unwrap_or_else(|| {
                held.push(HeldStats {
                    tee,
                    pieces: 0,
                    stale: 0,
                    oldest: 0,
                    next_update: None,
                });
                held.len() - 1
            });
            let Some(one) = held.get_mut(index) else {
                continue;
            };
            one.pieces += 1;
            one.stale += usize::from(entry.dated.stale_since(now).is_some());
            if key.is_renewed() {
                one.oldest = one.oldest.max(now.0.saturating_sub(entry.fetched.0));
            }
            one.next_update = match (one.next_update, entry.dated.next_update) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        held.sort_by_key(|one| one.tee);
        let mut fetches: Vec<FetchStats> = self
            .fetches
            .iter()
            .map(|((origin, outcome), count)| FetchStats {
                origin,
                outcome,
                count: *count,
            })
            .collect();
        fetches.sort();
        Stats {
            held,
            fetches,
            failures: cache.failures(),
            fetching,
            turned_away: self.turned_away,
            answered_stale: self.answered_stale,
        }
    }
}
