//! One fetch for each piece at a time, whoever waits for it; what becomes of its outcome; and who may start one.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marblerun_attestation::collateral::CollateralNeeded;
use marblerun_attestation::verify::check_collateral;
use marblerun_attestation::{Collateral, FreshnessPolicy, Reason, Refused, TrustRoots, UnixSeconds};
use tokio::sync::watch;

use crate::Clock;
use crate::cache::Cache;
use crate::collaterals::{Asker, Freshness};
use crate::config::{Config, Limits, StartError};
use crate::directory::{Candidate, Directory};
use crate::error::CollateralError;
use crate::landing::Landing;
use crate::pace::Pace;
use crate::piece::{Dated, Key, Piece, SnpLine};
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
    check: Box<Check>,
    clock: Clock,
    policy: FreshnessPolicy,
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
}

impl Gate {
    pub(crate) fn new(asker: Asker) -> Self {
        Self {
            open: asker == Asker::Trusted,
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
            return Seen::Held(Held {
                dated: Arc::clone(&held.dated),
                freshness: held.freshness,
            });
        }
        if let Some(flight) = state.flights.get(&key) {
            return Seen::Flight(flight.clone(), old);
        }
        if let Some(error) = state.cache.failure(&key, now) {
            return usable.map_or(Seen::Failed(error), Seen::Held);
        }
        if old.is_none() && key.is_platform() && !gate.open && self.client.is_paced() {
            if !state.pace.admits(&key, now) {
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
    fn usable(&self, key: &Key, dated: &Arc<Dated>, now: UnixSeconds) -> Option<Held> {
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

    /// The directory first, then the source, then the directory's if it is out of date within the grace. Boxed, because
    /// a fetch of one piece may wait for one of another.
    fn fetch(self: Arc<Self>, key: Key) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        Box::pin(async move {
            let held = self.lock().cache.get(&key).and_then(|held| held.next_update);
            let in_directory = self.from_directory(&key).await;
            if let Some(found) = &in_directory
                && found.stale_since(self.now()).is_none()
                && self.is_whole(&found.piece)
                && held.is_none_or(|held| found.next_update.is_none_or(|found| found >= held))
            {
                return Ok(Arc::clone(found));
            }
            let error = match self.from_source(&key, held).await {
                Ok(fetched) => return Ok(Arc::new(fetched)),
                Err(error) => error,
            };
            let no_service = matches!(error, CollateralError::NotInDirectory { .. });
            match in_directory {
                // Of no use: why the list was not to be had says more than that it is not there.
                Some(found) if self.lacks_list(&found.piece) && !no_service => Err(error),
                Some(found) if self.usable(&key, &found, self.now()).is_some() => {
                    tracing::warn!(%error, "only the directory has collateral, out of date or not all of it: {key}");
                    Ok(found)
                }
                Some(found) if no_service => Err(out_of_date(&found)),
                // Callers ask for another product line, or blame the evidence, for these.
                Some(_) if error.is_about_evidence() || matches!(error, CollateralError::NotKnown { .. }) => {
                    Err(error)
                }
                Some(found) => Err(match found.stale_since(self.now()) {
                    Some(since) => CollateralError::DirectoryOutOfDate {
                        since,
                        error: Box::new(error),
                    },
                    None => error,
                }),
                None => Err(error),
            }
        })
    }

    /// Whether a piece has all its parts: the directory may have only some of a product line.
    fn is_whole(&self, piece: &Piece) -> bool {
        match piece {
            Piece::SnpLine(line) => line.chain.is_some() && !self.lacks_list(piece),
            Piece::Dcap(_) | Piece::SnpEndorsement(_) => true,
        }
    }

    fn lacks_list(&self, piece: &Piece) -> bool {
        matches!(piece, Piece::SnpLine(line) if line.list.is_none() && self.revocation)
    }

    /// What the directory has, if it passes, or is out of date beyond use.
    async fn from_directory(self: &Arc<Self>, key: &Key) -> Option<Arc<Dated>> {
        let directory = Arc::clone(self.directory.as_ref()?);
        let read = tokio::task::spawn_blocking(move || directory.read()).await;
        let candidates = match read {
            Ok(Ok((content, _))) => content.pieces.get(key)?.clone(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the directory of collateral cannot be read");
                return None;
            }
            Err(_) => return None,
        };
        let mut out_of_date = None;
        for Candidate { files, dated: found } in candidates {
            if self.usable(key, &found, self.now()).is_none() {
                // Not used, but worth a better error than that there is nothing.
                out_of_date = out_of_date.or(Some(found));
                continue;
            }
            match self.passes(key, &found, self.policy).await {
                Ok(()) => return Some(found),
                Err(error) => {
                    tracing::warn!(%error, files, "collateral in the directory is passed over: {key}");
                }
            }
        }
        out_of_date
    }

    async fn from_source(
        self: &Arc<Self>,
        key: &Key,
        held: Option<UnixSeconds>,
    ) -> Result<Dated, CollateralError> {
        let fetched = self.client.fetch(key).await?;
        let origin = fetched.origin.as_str();
        if let Some(since) = fetched.stale_since(self.now()) {
            return Err(CollateralError::OutOfDate { origin, since });
        }
        if let (Some(held), Some(found)) = (held, fetched.next_update)
            && found < held
        {
            return Err(CollateralError::Older { origin, found, held });
        }
        self.passes(key, &fetched, FreshnessPolicy::default()).await?;
        Ok(fetched)
    }

    /// Whether a piece is what it should be, below the roots.
    async fn passes(
        self: &Arc<Self>,
        key: &Key,
        dated: &Dated,
        policy: FreshnessPolicy,
    ) -> Result<(), CollateralError> {
        let outcome = match (key, &dated.piece) {
            (Key::Dcap(needed), Piece::Dcap(collateral)) => {
                let needed = CollateralNeeded::Dcap(*needed);
                (self.check)(collateral, &needed, self.now(), policy)
            }
            (Key::SnpLine(..), Piece::SnpLine(line)) => {
                let collateral = crate::snp::assemble(line, None)?;
                (self.check)(&collateral, &crate::snp::needed(key), self.now(), policy)
            }
            (Key::SnpEndorsement(wanted), Piece::SnpEndorsement(der)) => {
                let line = Key::SnpLine(wanted.product, wanted.signing_key);
                let held = self.piece(line, &mut Gate::new(Asker::Trusted)).await?;
                let Piece::SnpLine(line) = &held.dated.piece else {
                    return Err(CollateralError::Interrupted);
                };
                let without_list = SnpLine {
                    chain: line.chain.clone(),
                    list: None,
                };
                let collateral = crate::snp::assemble(&without_list, Some(der.clone()))?;
                (self.check)(&collateral, &crate::snp::needed(key), self.now(), policy)
            }
            _ => return Err(CollateralError::Interrupted),
        };
        match outcome {
            Ok(()) => Ok(()),
            // A signed statement, and the evidence's own affair: the verifier refuses it with that reason.
            Err(refused)
                if matches!(*refused.reason, Reason::Revoked { .. }) && !refused.is_about_collateral() =>
            {
                Ok(())
            }
            Err(refused) => Err(CollateralError::Refused {
                origin: dated.origin.as_str(),
                refused: Box::new(refused),
            }),
        }
    }
}

pub(crate) fn out_of_date(dated: &Dated) -> CollateralError {
    CollateralError::OutOfDate {
        origin: dated.origin.as_str(),
        since: dated.next_update.unwrap_or(UnixSeconds(0)),
    }
}
