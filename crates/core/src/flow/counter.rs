//! Monotonic counters of marbles (`spec/05`, `monotonic-counter`).

use std::sync::Arc;

use uuid::Uuid;

use crate::access::recognise_marble;
use crate::change::Change;
use crate::decision::{Decision, Prepared, Verdict};
use crate::manifest::{FeatureGate, Name};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{Deployment, State};

/// Counters one instance of a marble may have.
pub const MAX_OF_INSTANCE: usize = 1_000;
/// Counters all instances of a marble type may have together. Whoever runs one marble can take any number of UUIDs; he
/// is to use up what belongs to his type, not to all.
pub const MAX_OF_TYPE: usize = 100_000;
/// Counters there may be altogether.
pub const MAX_ALTOGETHER: usize = 1_000_000;
/// Longest name in bytes.
pub const MAX_NAME: usize = 253;

/// A marble that wants a counter to be at least some value.
pub struct CounterRequest {
    owner: (Name, Uuid),
    name: Name,
    value: u64,
}

/// What a marble is told of its counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRaised {
    /// The value before; 0 for a counter that was never raised.
    pub before: u64,
    /// The marble type, for the log.
    pub marble_type: Name,
    /// The marble's UUID, for the log.
    pub uuid: Uuid,
}

/// Recognises the marble. `leaf` is its certificate, DER: the counter belongs to marble type and UUID as it names
/// them.
///
/// # Errors
/// `FeatureDisabled` before anything else; `Unauthenticated` unless the current Marble root issued the
/// certificate; `Malformed` for a name that is empty or longer than [`MAX_NAME`].
pub fn prepare(
    state: &State,
    leaf: Option<&[u8]>,
    name: &str,
    value: u64,
) -> Result<Prepared<CounterRequest>, Refusal> {
    state.check_feature(FeatureGate::MonotonicCounter)?;
    let owner = recognise_marble(state, leaf)?;
    if name.is_empty() || name.len() > MAX_NAME {
        let message = format!(
            "invalid counter name: expected 1 to {MAX_NAME} bytes, found {}",
            name.len()
        );
        return Err(Refusal::new(RefusalKind::Malformed, message));
    }
    Ok(Prepared {
        manifest_generation: state.manifest_generation(),
        secret_versions: Vec::new(),
        value: CounterRequest {
            owner,
            name: name.into(),
            value,
        },
    })
}

/// Sets the counter to the larger of its value and the one given.
///
/// # Errors
/// `FeatureDisabled`; `TooLarge`, naming the limit, for one counter too many.
pub fn decide(state: &State, prepared: &Prepared<CounterRequest>) -> Result<Verdict<CounterRaised>, Refusal> {
    state.check_feature(FeatureGate::MonotonicCounter)?;
    if !prepared.holds_on(state) {
        return Ok(Verdict::Stale);
    }
    let deployment = state.deployed()?;
    let CounterRequest { owner, name, value } = &prepared.value;
    let before = deployment.counter(owner, name);
    let mut changes = Vec::new();
    // A counter that does not rise needs no record: one that was never raised is 0.
    if *value > before {
        check_limits(deployment, owner, name)?;
        changes.push(Change::CounterRaised {
            marble_type: Arc::clone(&owner.0),
            uuid: owner.1,
            name: Arc::clone(name),
            value: *value,
        });
    }
    Ok(Verdict::Decided(Decision {
        changes,
        reply: CounterRaised {
            before,
            marble_type: Arc::clone(&owner.0),
            uuid: owner.1,
        },
    }))
}

fn check_limits(deployment: &Deployment, owner: &(Name, Uuid), name: &str) -> Result<(), Refusal> {
    let counters = deployment.counters.get(owner);
    if counters.is_some_and(|counters| counters.contains_key(name)) {
        return Ok(());
    }
    let too_many = |limit, of| {
        let message = format!("too many monotonic counters: {of} may have at most {limit}");
        Err(Refusal::new(RefusalKind::TooLarge, message))
    };
    if counters.is_some_and(|counters| counters.len() >= MAX_OF_INSTANCE) {
        return too_many(MAX_OF_INSTANCE, "a marble");
    }
    if deployment.counters_of_type(&owner.0) >= MAX_OF_TYPE {
        return too_many(MAX_OF_TYPE, "a marble type");
    }
    if deployment.counter_count >= MAX_ALTOGETHER {
        return too_many(MAX_ALTOGETHER, "all marbles together");
    }
    Ok(())
}
