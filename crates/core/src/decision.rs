//! What a flow answers with.

use crate::change::Change;

/// What shall happen (the changes) and what the caller is told once it has durably happened (the reply).
pub struct Decision<R> {
    /// Facts, in the order they are to be applied. None: nothing needs to be kept.
    pub changes: Vec<Change>,
    /// Handed out only after the changes are durable.
    pub reply: R,
}

/// The outcome of deciding on something prepared.
pub enum Verdict<R> {
    /// It holds for the state it is decided on.
    Decided(Decision<R>),
    /// It was prepared on a state that has changed since in what it rests on: prepare again.
    Stale,
}

/// Something prepared against a snapshot, with what of that snapshot it rests on.
///
/// What is expensive happens while preparing, in parallel and without a lock; deciding only compares. None of
/// it is handed out before the decision.
pub struct Prepared<T> {
    /// The manifest generation of the snapshot; 0 before a manifest is set.
    pub manifest_generation: u64,
    /// The secrets used, with their versions in the snapshot.
    pub secret_versions: Vec<(crate::manifest::Name, u64)>,
    /// What was prepared.
    pub value: T,
}

impl<T> Prepared<T> {
    /// Whether what it rests on is still so in `state`.
    pub fn holds_on(&self, state: &crate::state::State) -> bool {
        self.manifest_generation == state.manifest_generation()
            && self
                .secret_versions
                .iter()
                .all(|(name, version)| state.secret_version(name) == *version)
    }
}
