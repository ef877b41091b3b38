//! Proposing an update: `POST update` takes both kinds and tells them apart.

use std::sync::Arc;

use imbl::OrdSet;

use super::next::NextDeployment;
use super::{Outcome, Request, Waiting, apply, check_none_pending, check_yield, missing};
use crate::access::{Caller, Permit, UpdateManifest, recognise};
use crate::ambient::Ambient;
use crate::change::{Change, Missing};
use crate::decision::{Decision, Prepared, Verdict};
use crate::flow::set_manifest::refuse_manifest;
use crate::flow::update_packages::{self, RaisedPackages};
use crate::manifest::{self, Name};
use crate::refusal::Refusal;
use crate::state::State;

/// An update as it was prepared.
pub enum Update {
    /// Of packages alone; applies at once.
    Packages(Prepared<RaisedPackages>),
    /// Of the whole manifest.
    Manifest(Box<Prepared<Proposal>>),
}

/// A proposed manifest with the deployment it would lead to.
pub struct Proposal {
    caller: Caller,
    raw: Arc<[u8]>,
    may_yield_recovery_secrets: bool,
    next: NextDeployment,
}

const PURPOSE: &str = "update the complete manifest";

/// Checks an update. A document whose only section with entries is `Packages` is one of packages alone; any other
/// is a manifest, and the whole deployment it would lead to is made.
///
/// # Errors
/// `Unauthenticated`, `Denied`, `Conflict` while another update is pending, `TooLarge`, `Invalid` with all problems
/// of the document, `Malformed` when the answer would have no place for recovery secrets, `Internal`.
pub fn prepare(state: &State, request: &Request<'_>, ambient: &Ambient<'_>) -> Result<Update, Refusal> {
    let caller = recognise(state, request.leaf)?;
    let packages = manifest::package_update(request.raw, request.limits)
        .map_err(|error| refuse_manifest("checking update manifest", &error))?;
    if let Some(versions) = packages {
        return update_packages::prepare(state, caller, versions, ambient).map(Update::Packages);
    }
    let permit = Permit::update_manifest(state, &caller, PURPOSE)?;
    check_none_pending(permit.deployment())?;
    let (next, secret_versions) =
        NextDeployment::prepare(state, request.raw, request.limits, request.environment, ambient)?;
    let votes = acknowledged(&permit);
    if missing(&permit.deployment().manifest, &votes).acknowledgements == 0 {
        check_yield(&next, request.may_yield_recovery_secrets)?;
    }
    Ok(Update::Manifest(Box::new(Prepared {
        manifest_generation: state.manifest_generation(),
        secret_versions,
        value: Proposal {
            caller,
            raw: next.raw(),
            may_yield_recovery_secrets: request.may_yield_recovery_secrets,
            next,
        },
    })))
}

/// Proposes the update, which is an acknowledgement too, and applies it if that was the only one needed.
///
/// # Errors
/// As [`prepare`], where the state has changed.
pub fn decide(state: &State, update: &Update, ambient: &Ambient<'_>) -> Result<Verdict<Outcome>, Refusal> {
    match update {
        Update::Packages(prepared) => Ok(match update_packages::decide(state, prepared, ambient)? {
            Verdict::Stale => Verdict::Stale,
            Verdict::Decided(decision) => Verdict::Decided(Decision {
                changes: decision.changes,
                reply: Outcome::Applied(super::Applied {
                    recovery_secrets: Default::default(),
                    lowered: Vec::new(),
                    warnings: Vec::new(),
                }),
            }),
        }),
        Update::Manifest(prepared) => decide_proposal(state, prepared, ambient),
    }
}

fn decide_proposal(
    state: &State,
    prepared: &Prepared<Proposal>,
    ambient: &Ambient<'_>,
) -> Result<Verdict<Outcome>, Refusal> {
    if !prepared.holds_on(state) {
        return Ok(Verdict::Stale);
    }
    let proposal = &prepared.value;
    let permit = Permit::update_manifest(state, &proposal.caller, PURPOSE)?;
    check_none_pending(permit.deployment())?;
    let missing = missing(&permit.deployment().manifest, &acknowledged(&permit));
    let mut changes = vec![proposed(&permit, proposal, &missing, ambient)];
    let reply = if missing.acknowledgements == 0 {
        check_yield(&proposal.next, proposal.may_yield_recovery_secrets)?;
        let (applied, outcome) = apply(&permit, &proposal.next, ambient);
        changes.extend(applied);
        outcome
    } else {
        Outcome::Waiting(Waiting {
            missing,
            lowered: proposal.next.lowered().to_vec(),
        })
    };
    Ok(Verdict::Decided(Decision { changes, reply }))
}

fn acknowledged(permit: &Permit<'_, UpdateManifest>) -> OrdSet<Name> {
    let voter = permit.votes().then(|| Arc::clone(permit.caller()));
    voter.into_iter().collect()
}

fn proposed(
    permit: &Permit<'_, UpdateManifest>,
    proposal: &Proposal,
    missing: &Missing,
    ambient: &Ambient<'_>,
) -> Change {
    Change::UpdateProposed {
        at: ambient.now,
        user: Arc::clone(permit.caller()),
        votes: permit.votes(),
        raw: Arc::clone(&proposal.raw),
        missing: missing.clone(),
    }
}
