//! What is kept: pieces, and failures for a short time. Bounded, without a clock and without I/O.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use marblerun_attestation::UnixSeconds;

use crate::config::Limits;
use crate::error::CollateralError;
use crate::piece::{Dated, Key};

/// Pieces and failures.
pub(crate) struct Cache {
    limits: Limits,
    entries: HashMap<Key, Entry>,
    failures: HashMap<Key, Failure>,
    /// Counts uses, to find what was not used for longest.
    uses: u64,
    jitter: RandomState,
}

/// A piece that is kept.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) dated: Arc<Dated>,
    pub(crate) fetched: UnixSeconds,
    /// When it is to be fetched anew.
    pub(crate) refresh_at: UnixSeconds,
    used: u64,
}

struct Failure {
    error: CollateralError,
    at: UnixSeconds,
}

impl Cache {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            failures: HashMap::new(),
            uses: 0,
            jitter: RandomState::new(),
        }
    }

    /// What is kept, out of date or not.
    pub(crate) fn get(&mut self, key: &Key) -> Option<Arc<Dated>> {
        let entry = self.entries.get_mut(key)?;
        self.uses = self.uses.saturating_add(1);
        entry.used = self.uses;
        Some(Arc::clone(&entry.dated))
    }

    /// Keeps a piece. At the limit, what was not used for longest goes.
    pub(crate) fn put(&mut self, key: Key, dated: Arc<Dated>, now: UnixSeconds) {
        self.failures.remove(&key);
        if self.entries.len() >= self.limits.entries
            && !self.entries.contains_key(&key)
            && let Some(oldest) = self
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(key, _)| *key)
        {
            self.entries.remove(&oldest);
        }
        self.uses = self.uses.saturating_add(1);
        let entry = Entry {
            refresh_at: self.refresh_at(&key, dated.next_update, now),
            dated,
            fetched: now,
            used: self.uses,
        };
        self.entries.insert(key, entry);
    }

    /// At 80 % of its life or after the configured time, and up to a tenth of that earlier, so that not all Coordinators
    /// ask at once. Endorsement keys do not change.
    fn refresh_at(&self, key: &Key, next_update: Option<UnixSeconds>, now: UnixSeconds) -> UnixSeconds {
        if !key.is_renewed() {
            return next_update.unwrap_or(UnixSeconds(u64::MAX));
        }
        let life = next_update.map_or(u64::MAX, |end| end.0.saturating_sub(now.0));
        let after = (life / 5)
            .saturating_mul(4)
            .min(self.limits.refresh_after.as_secs());
        let tenth = after / 10;
        let earlier = match tenth {
            0 => 0,
            tenth => self.jitter.hash_one((key, now)) % tenth,
        };
        UnixSeconds(now.0.saturating_add(after - earlier))
    }

    /// Remembers a failure. At the limit, the oldest goes.
    pub(crate) fn put_failure(&mut self, key: Key, error: CollateralError, now: UnixSeconds) {
        if self.failures.len() >= self.limits.failures
            && !self.failures.contains_key(&key)
            && let Some(oldest) = self
                .failures
                .iter()
                .min_by_key(|(_, failure)| failure.at)
                .map(|(key, _)| *key)
        {
            self.failures.remove(&oldest);
        }
        self.failures.insert(key, Failure { error, at: now });
    }

    /// The failure of a moment ago, if there was one. A clock that went back ends the moment.
    pub(crate) fn failure(&mut self, key: &Key, now: UnixSeconds) -> Option<CollateralError> {
        let failure = self.failures.get(key)?;
        let recent = now >= failure.at && now.0 - failure.at.0 < self.limits.retry_after.as_secs();
        if recent {
            return Some(failure.error.clone());
        }
        self.failures.remove(key);
        None
    }

    /// Forgets all failures.
    pub(crate) fn forget_failures(&mut self) {
        self.failures.clear();
    }

    /// What is due to be fetched anew.
    pub(crate) fn due(&self, now: UnixSeconds) -> Vec<Key> {
        self.entries
            .iter()
            .filter(|(_, entry)| now >= entry.refresh_at)
            .map(|(key, _)| *key)
            .collect()
    }

    /// Everything that is kept.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// How many failures are remembered.
    pub(crate) fn failures(&self) -> usize {
        self.failures.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use marblerun_attestation::collateral::{DcapNeeded, DcapTee, PckAuthority};

    use super::*;
    use crate::piece::{Origin, Piece};

    const NOW: UnixSeconds = UnixSeconds(1_000_000_000);

    fn key(number: u8) -> Key {
        Key::Dcap(DcapNeeded {
            tee: DcapTee::Sgx,
            fmspc: [number; 6],
            authority: PckAuthority::Platform,
        })
    }

    fn piece(life: u64) -> Arc<Dated> {
        Arc::new(Dated {
            piece: Piece::SnpEndorsement(Vec::new()),
            next_update: Some(UnixSeconds(NOW.0 + life)),
            origin: Origin::Directory,
        })
    }

    fn cache(limits: &Limits) -> Cache {
        Cache::new(Limits {
            entries: 3,
            failures: 3,
            ..limits.clone()
        })
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut cache = cache(&Limits::default());
        for number in 0..3 {
            cache.put(key(number), piece(100), NOW);
        }
        cache.get(&key(0));
        cache.put(key(3), piece(100), NOW);
        assert!(cache.get(&key(1)).is_none());
        assert!(
            [0, 2, 3]
                .into_iter()
                .all(|number| cache.get(&key(number)).is_some())
        );
        cache.put(key(2), piece(100), NOW);
        assert_eq!(cache.entries().count(), 3);
    }

    #[test]
    fn failures_are_remembered_for_a_moment_and_few_of_them() {
        let mut cache = cache(&Limits {
            retry_after: Duration::from_secs(30),
            ..Limits::default()
        });
        cache.put_failure(key(0), CollateralError::Busy, NOW);
        assert_eq!(
            cache.failure(&key(0), UnixSeconds(NOW.0 + 29)),
            Some(CollateralError::Busy)
        );
        assert_eq!(cache.failure(&key(0), UnixSeconds(NOW.0 + 30)), None);
        cache.put_failure(key(0), CollateralError::Busy, NOW);
        assert_eq!(cache.failure(&key(0), UnixSeconds(NOW.0 - 1)), None);
        for number in 0..10 {
            cache.put_failure(
                key(number),
                CollateralError::Busy,
                UnixSeconds(NOW.0 + u64::from(number)),
            );
        }
        assert_eq!(cache.failures(), 3);
        cache.put(key(9), piece(1), NOW);
        assert_eq!(cache.failures(), 2);
    }

    #[test]
    fn the_time_to_fetch_anew_is_before_the_end_and_differs() {
        let cache = cache(&Limits {
            refresh_after: Duration::from_secs(86_400),
            ..Limits::default()
        });
        for (life, latest) in [(1000, 800), (1_000_000, 86_400), (0, 0), (4, 0)] {
            let end = Some(UnixSeconds(NOW.0 + life));
            let times: Vec<u64> = (0..50)
                .map(|number| cache.refresh_at(&key(number), end, NOW).0 - NOW.0)
                .collect();
            assert!(
                times
                    .iter()
                    .all(|time| *time <= latest && *time >= latest * 9 / 10),
                "{life}: {times:?}"
            );
            if life > 100 {
                assert!(times.iter().any(|time| *time != times[0]), "{times:?}");
            }
        }
    }
}
