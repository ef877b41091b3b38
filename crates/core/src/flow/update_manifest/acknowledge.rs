//! Acknowledging the pending update, with its very bytes. The last acknowledgement applies it.

use std::sync::Arc;

use super::next::NextDeployment;
use super::{Outcome, Request, Waiting, apply, check_yield, lowered_by, missing, pending_of};
use crate::access::{Caller, Permit, UpdateManifest, recognise};
use crate::ambient::Ambient;
use crate::change::{Change, Missing};
use crate::decision::{Decision, Prepared, Verdict};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{PendingUpdate, State};

/// An acknowledgement; with what it leads to, if it was the last one when it was prepared.
pub struct Acknowledgement {
    caller: Caller,
    /// The proposal it is for.
    pending: u64,
    may_yield_recovery_secrets: bool,
    /// What applying led to.
    next: Option<Result<NextDeployment, Refusal>>,
}

const PURPOSE: &str = "acknowledge manifest updates";

/// Checks an acknowledgement, and makes the deployment it leads to if it is the last one.
///
/// # Errors
/// `Unauthenticated`; `Denied`, also for marbles, whose acknowledgements do not count; `NotFound` when no update
/// is pending; `Conflict` for other bytes than the pending ones; `Malformed` when the answer would have no place
/// for recovery secrets.
pub fn prepare(
    state: &State,
    request: &Request<'_>,
    ambient: &Ambient<'_>,
) -> Result<Prepared<Acknowledgement>, Refusal> {
    let caller = recognise(state, request.leaf)?;
    let permit = permit(state, &caller)?;
    let pending = pending_of(permit.deployment())?;
    if *request.raw != *pending.raw {
        return Err(Refusal::new(
            RefusalKind::Conflict,
            "provided manifest does not match the pending manifest",
        ));
    }
    let mut secret_versions = Vec::new();
    let mut next = None;
    if missing_with(&permit, pending).acknowledgements == 0 {
        let made = NextDeployment::prepare(state, request.raw, request.limits, request.environment, ambient);
        next = Some(match made {
            Ok((made, versions)) => {
                check_yield(&made, request.may_yield_recovery_secrets)?;
                secret_versions = versions;
                Ok(made)
            }
            Err(refusal) => Err(refusal),
        });
    }
    Ok(Prepared {
        manifest_generation: state.manifest_generation(),
        secret_versions,
        value: Acknowledgement {
            caller,
            pending: pending.number,
            may_yield_recovery_secrets: request.may_yield_recovery_secrets,
            next,
        },
    })
}

/// Counts the acknowledgement; a second one of the same user changes nothing.
///
/// # Errors
/// As [`prepare`], where the state has changed.
pub fn decide(
    state: &State,
    prepared: &Prepared<Acknowledgement>,
    ambient: &Ambient<'_>,
) -> Result<Verdict<Outcome>, Refusal> {
    if !prepared.holds_on(state) {
        return Ok(Verdict::Stale);
    }
    let acknowledgement = &prepared.value;
    let permit = permit(state, &acknowledgement.caller)?;
    let pending = pending_of(permit.deployment())?;
    if pending.number != acknowledgement.pending {
        // Another proposal, maybe of other bytes.
        return Ok(Verdict::Stale);
    }
    let missing = missing_with(&permit, pending);
    let mut changes = Vec::new();
    if !pending.acknowledged.contains(permit.caller()) {
        changes.push(acknowledged(&permit, &missing, ambient));
    }
    let reply = match (missing.acknowledgements, &acknowledgement.next) {
        (0, None) => return Ok(Verdict::Stale),
        (0, Some(Ok(next))) => {
            check_yield(next, acknowledgement.may_yield_recovery_secrets)?;
            let (applied, outcome) = apply(&permit, next, ambient);
            changes.extend(applied);
            outcome
        }
        (0, Some(Err(refusal))) => {
            changes.push(Change::UpdateDropped { at: ambient.now });
            Outcome::Dropped(refusal.clone())
        }
        _ => Outcome::Waiting(Waiting {
            missing,
            lowered: lowered_by(permit.deployment(), &pending.raw),
        }),
    };
    Ok(Verdict::Decided(Decision { changes, reply }))
}

fn permit<'s>(state: &'s State, caller: &Caller) -> Result<Permit<'s, UpdateManifest>, Refusal> {
    let permit = Permit::update_manifest(state, caller, PURPOSE)?;
    if permit.votes() {
        return Ok(permit);
    }
    let message = format!(
        "user {} is not allowed to {PURPOSE}: acknowledgements of users count, not those of marbles",
        permit.caller()
    );
    Err(Refusal::new(RefusalKind::Denied, message))
}

/// What is missing once this caller has acknowledged.
fn missing_with(permit: &Permit<'_, UpdateManifest>, pending: &PendingUpdate) -> Missing {
    let acknowledged = pending.acknowledged.update(Arc::clone(permit.caller()));
    missing(&permit.deployment().manifest, &acknowledged)
}

fn acknowledged(permit: &Permit<'_, UpdateManifest>, missing: &Missing, ambient: &Ambient<'_>) -> Change {
    Change::UpdateAcknowledged {
        at: ambient.now,
        user: Arc::clone(permit.caller()),
        missing: missing.clone(),
    }
}
