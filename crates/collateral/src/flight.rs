//! One fetch for each piece at a time, whoever waits for it; what becomes of its outcome; and who may start one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marblerun_attestation::collateral::CollateralNeeded;
use marblerun_attestation::verify::check_collateral;
use marblerun_attestation::{Collateral, FreshnessPolicy, Refused, TrustRoots, UnixSeconds};
use tokio::sync::watch;

use crate::Clock;
use crate::cache::Cache;
use crate::collaterals::{Asker, Freshness};
use crate::config::{Config, Limits, StartError};
use crate::directory::Directory;
use crate::error::CollateralError;
use crate::landing::Landing;
use crate::pace::{Pace, Source};
use crate::piece::{Dated, Key};
use crate::source::Client;
use crate::stats::{Counts, Stats};

pub(crate) type Outcome = Result<Arc<Dated>, CollateralError>;
pub(crate) type Flight = watch::Receiver<Option<Outcome>>;
type Check =
    dyn Fn(&Collateral, &CollateralNeeded, UnixSeconds, FreshnessPolicy) -> Result<(), Refused> + Send + Sync;

/// What all clones share.
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) directory: Option<Arc<Directory>>,
    pub(crate) check: Box<Check>,
    clock: Clock,
    pub(crate) policy: FreshnessPolicy,
    limits: Limits,
    pub(crate) revocation: bool,
    /// Held for moments only: never while something is read, fetched or verified.
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) cache: Cache,
    pub(crate) flights: HashMap<Key, Flight>,
    pace: Pace,
    pub(crate) counts: Counts,
}

/// A piece and whether it is in force.
pub(crate) struct Held {
    pub(crate) dated: Arc<Dated>,
    pub(crate) freshness: Freshness,
}

/// Whether new platforms may be asked for. A request of a stranger needs to be let in once, however many pieces it takes.
pub(crate) struct Gate {
    open: bool,
    source: Source,
}

impl Gate {
    pub(crate) fn new(asker: Asker) -> Self {
        Self {
            open: asker == Asker::Trusted,
            source: match asker {
                Asker::Peer(address) => Source::from(address),
                Asker::Stranger | Asker::Trusted => Source::Unknown,
            },
        }
    }
}

/// What there was to see, before anything is waited for.
enum Seen {
    Held(Held),
    Failed(CollateralError),
    Flight(Flight, Option<Arc<Dated>>),
}

impl Inner {
    pub(crate) fn new<R: TrustRoots>(config: Config, roots: R, clock: Clock) -> Result<Self, StartError> {
        let client = Client::new(&config, Arc::clone(&clock))?;
        let directory = match config.directory {
            None => None,
            Some(path) => Some(Arc::new(
                Directory::open(path.clone()).map_err(|source| StartError::Directory { path, source })?,
            )),
        };
        Ok(Self {
            client,
            directory,
            check: Box::new(move |collateral, needed, now, policy| {
                check_collateral(&roots, collateral, needed, now, policy)
            }),
            clock,
            policy: FreshnessPolicy { grace: config.grace },
            state: Mutex::new(State {
                cache: Cache::new(config.limits.clone()),
                flights: HashMap::new(),
                pace: Pace::default(),
                counts: Counts::default(),
            }),
            limits: config.limits,
            revocation: config.snp_revocation,
        })
    }

    pub(crate) fn policy(&self) -> FreshnessPolicy {
        self.policy
    }

    pub(crate) fn stats(&self) -> Stats {
        let now = self.now();
        let state = self.lock();
        state.counts.stats(&state.cache, state.flights.len(), now)
    }

    pub(crate) fn count_stale(&self) {
        self.lock().counts.answered_stale += 1;
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        (self.clock)()
    }

    /// Nothing panics while the lock is held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece: from the cache when it is in force, else by a fetch, else out of date within the grace.
    pub(crate) async fn piece(self: &Arc<Self>, key: Key, gate: &mut Gate) -> Result<Held, CollateralError> {
        let (mut flight, old) = match self.see(key, gate) {
            Seen::Held(held) => return Ok(held),
            Seen::Failed(error) => return Err(error),
            Seen::Flight(flight, old) => (flight, old),
        };
        let outcome = match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(CollateralError::Interrupted)),
            Err(_) => Err(CollateralError::Interrupted),
        };
        let now = self.now();
        match outcome {
            Ok(dated) => self.usable(&key, &dated, now).ok_or_else(|| out_of_date(&dated)),
            Err(error) => old.and_then(|old| self.usable(&key, &old, now)).ok_or(error),
        }
    }

    fn see(self: &Arc<Self>, key: Key, gate: &mut Gate) -> Seen {
        let now = self.now();
        let mut state = self.lock();
        let old = state.cache.get(&key);
        let usable = old.as_ref().and_then(|old| self.usable(&key, old, now));
        if let Some(held) = &usable
            && held.freshness == Freshness::Fresh
        {
            let held = Held {
                dated: Arc::clone(&held.dated),
                freshness: held.freshness,
            };
            // Its other part is looked for again, and whoever does not need it is not kept waiting.
            if held.dated.rest_missing().is_some()
                && !state.flights.contains_key(&key)
                && state.cache.failure(&key, now).is_none()
            {
                self.start(&mut state, key);
            }
            return Seen::Held(held);
        }
        if let Some(flight) = state.flights.get(&key) {
            return Seen::Flight(flight.clone(), old);
        }
        if let Some(error) = state.cache.failure(&key, now) {
            return usable.map_or(Seen::Failed(error), Seen::Held);
        }
        if old.is_none() && key.is_platform() && !gate.open && self.client.is_paced() {
            if !state.pace.admits(&key, gate.source, now) {
                state.counts.turned_away += 1;
                return Seen::Failed(CollateralError::TooManyNewPlatforms);
            }
            gate.open = true;
        }
        // Product lines are few, and fetches of platforms wait for them.
        if key.is_platform() && state.flights.len() >= self.limits.fetches {
            return usable.map_or(Seen::Failed(CollateralError::Busy), Seen::Held);
        }
        Seen::Flight(self.start(&mut state, key), old)
    }

    /// What may be used as of `now`, in force or within the grace. Certificates have no grace.
    pub(crate) fn usable(&self, key: &Key, dated: &Arc<Dated>, now: UnixSeconds) -> Option<Held> {
        let freshness = match dated.stale_since(now) {
            None => Freshness::Fresh,
            Some(since) => {
                let grace = self.policy.grace.as_secs();
                if !key.is_renewed() || now.0 - since.0 > grace {
                    return None;
                }
                Freshness::Stale { since }
            }
        };
        Some(Held {
            dated: Arc::clone(dated),
            freshness,
        })
    }

    /// Starts a fetch that nobody who waits for it can end.
    pub(crate) fn start(self: &Arc<Self>, state: &mut State, key: Key) -> Flight {
        let (sender, flight) = watch::channel(None);
        state.flights.insert(key, flight.clone());
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let landing = Landing {
                inner: &inner,
                key,
                sender,
            };
            let outcome = Arc::clone(&inner).fetch(key).await;
            landing.land(outcome);
        });
        flight
    }
}

pub(crate) fn out_of_date(dated: &Dated) -> CollateralError {
    CollateralError::OutOfDate {
        origin: dated.origin.as_str(),
        since: dated.next_update.unwrap_or(UnixSeconds(0)),
    }
}
