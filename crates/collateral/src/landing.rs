//! What becomes of the outcome of a fetch.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::CollateralError;
use crate::flight::{Inner, Outcome, out_of_date};
use crate::piece::Key;

/// What has to happen at the end of a fetch, even one that panics: the next one may start.
pub(crate) struct Landing<'i> {
    pub(crate) inner: &'i Arc<Inner>,
    pub(crate) key: Key,
    pub(crate) sender: watch::Sender<Option<Outcome>>,
}

impl Landing<'_> {
    /// Keeps the outcome, counts it, says it, and tells those who wait.
    pub(crate) fn land(self, outcome: Outcome) {
        let (inner, key) = (self.inner, self.key);
        let now = inner.now();
        {
            let mut state = inner.lock();
            let origin = match &outcome {
                Ok(dated) => dated.origin,
                Err(_) => inner.client.origin(&key),
            };
            let label = outcome.as_ref().map_or_else(CollateralError::kind, |_| "ok");
            state.counts.fetched(origin.as_str(), label);
            match &outcome {
                Ok(dated) => {
                    state.cache.put(key, Arc::clone(dated), now);
                    // What is out of date already, or lacks a part, is used for a moment, and then looked for again.
                    if dated.stale_since(now).is_some() {
                        state.cache.put_failure(key, out_of_date(dated), now);
                    } else if let Some(error) = dated.rest_missing() {
                        state.cache.put_failure(key, error.clone(), now);
                    }
                }
                Err(error) => state.cache.put_failure(key, error.clone(), now),
            }
            state.flights.remove(&key);
        }
        match &outcome {
            Ok(dated) => tracing::info!(
                origin = dated.origin.as_str(),
                next_update = dated.next_update.map(tracing::field::display),
                "collateral obtained: {key}"
            ),
            Err(error) => tracing::warn!(%error, kind = error.kind(), "no collateral: {key}"),
        }
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Landing<'_> {
    /// After [`Landing::land`] there is nothing left to remove, unless the next fetch has started: that one stays.
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        let own = state
            .flights
            .get(&self.key)
            .is_some_and(|flight| flight.same_channel(&self.sender.subscribe()));
        if own {
            state.flights.remove(&self.key);
        }
    }
}
