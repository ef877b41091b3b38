//! Cancelling the pending update.

use std::sync::Arc;

use super::pending_of;
use crate::access::{Caller, Permit, UpdateManifest, recognise};
use crate::ambient::Ambient;
use crate::change::Change;
use crate::decision::{Decision, Prepared, Verdict};
use crate::refusal::Refusal;
use crate::state::State;

/// A caller who wants to cancel the update that is pending.
pub struct Cancellation {
    caller: Caller,
    pending: u64,
}

const PURPOSE: &str = "cancel the manifest update";

/// Checks that there is something to cancel. `leaf` is the caller's certificate, DER.
///
/// # Errors
/// `Unauthenticated`, `Denied`, `NotFound` when no update is pending.
pub fn prepare(state: &State, leaf: Option<&[u8]>) -> Result<Prepared<Cancellation>, Refusal> {
    let caller = recognise(state, leaf)?;
    let permit = Permit::update_manifest(state, &caller, PURPOSE)?;
    let pending = pending_of(permit.deployment())?.number;
    Ok(Prepared {
        manifest_generation: state.manifest_generation(),
        secret_versions: Vec::new(),
        value: Cancellation { caller, pending },
    })
}

/// Cancels it: the very proposal that was pending before, never one that took its place.
///
/// # Errors
/// As [`prepare`], where the state has changed.
pub fn decide(
    state: &State,
    prepared: &Prepared<Cancellation>,
    ambient: &Ambient<'_>,
) -> Result<Verdict<()>, Refusal> {
    if !prepared.holds_on(state) {
        return Ok(Verdict::Stale);
    }
    let permit = Permit::update_manifest(state, &prepared.value.caller, PURPOSE)?;
    if pending_of(permit.deployment())?.number != prepared.value.pending {
        return Ok(Verdict::Stale);
    }
    Ok(Verdict::Decided(Decision {
        changes: vec![cancelled(&permit, ambient)],
        reply: (),
    }))
}

fn cancelled(permit: &Permit<'_, UpdateManifest>, ambient: &Ambient<'_>) -> Change {
    Change::UpdateCancelled {
        at: ambient.now,
        user: Arc::clone(permit.caller()),
    }
}
