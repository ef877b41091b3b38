//! Fetching anew, before what is kept is out of date.

use std::sync::Arc;

use marblerun_attestation::UnixSeconds;

use crate::flight::{Flight, Inner, State};
use crate::piece::Key;

/// How many pieces are fetched anew at the same time.
const REFRESHES: usize = 4;

impl Inner {
    /// See [`crate::Collaterals::refresh_due`].
    pub(crate) async fn refresh_due(self: &Arc<Self>) {
        let now = self.now();
        let mut due = self.lock().cache.due(now);
        if let Some(directory) = self.directory.clone()
            && let Ok(Ok((content, changed))) = tokio::task::spawn_blocking(move || directory.read()).await
            && changed
        {
            let mut state = self.lock();
            state.cache.forget_failures();
            let newer = state.cache.entries().filter(|(key, entry)| {
                content.pieces.get(key).is_some_and(|found| {
                    found
                        .iter()
                        .any(|one| one.dated.next_update > entry.dated.next_update)
                })
            });
            due.extend(newer.map(|(key, _)| *key));
        }
        due.sort_by_key(ToString::to_string);
        due.dedup();
        for some in due.chunks(REFRESHES) {
            let flights: Vec<Flight> = {
                let mut state = self.lock();
                some.iter()
                    .filter_map(|key| self.start_refresh(&mut state, *key, now))
                    .collect()
            };
            for mut flight in flights {
                // How it ended was said when it landed.
                let _ = flight.wait_for(Option::is_some).await;
            }
        }
    }

    fn start_refresh(self: &Arc<Self>, state: &mut State, key: Key, now: UnixSeconds) -> Option<Flight> {
        if let Some(flight) = state.flights.get(&key) {
            return Some(flight.clone());
        }
        if state.cache.failure(&key, now).is_some() {
            return None;
        }
        Some(self.start(state, key))
    }
}
