//! Replacing the manifest (`docs/flows/update.md`, `spec/05`, "Update rules"): somebody proposes, others acknowledge
//! the same bytes, the last acknowledgement applies it; until then it can be cancelled.
//!
//! Users and threshold are those of the manifest in force. A proposal is checked by making the whole deployment it
//! would lead to (`next`), which is also what applies it.

mod acknowledge;
mod cancel;
mod next;
mod propose;

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdSet;

use crate::access::{Permit, UpdateManifest, updaters};
use crate::ambient::Ambient;
use crate::change::{Change, Missing};
use crate::manifest::{self, HsmEnvironment, Limits, Manifest, Name};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{Deployment, PendingUpdate, State};
use next::NextDeployment;

pub use acknowledge::{
    Acknowledgement, decide as decide_acknowledgement, prepare as prepare_acknowledgement,
};
pub use cancel::{Cancellation, decide as decide_cancellation, prepare as prepare_cancellation};
pub use propose::{Update, decide, prepare};

/// A manifest sent by a user, to propose it or to acknowledge it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The caller's certificate, DER.
    pub leaf: Option<&'a [u8]>,
    /// The manifest's bytes.
    pub raw: &'a [u8],
    /// Whether the answer has room for recovery secrets. Version 1 of the API has none: what would yield new ones
    /// is refused there.
    pub may_yield_recovery_secrets: bool,
    /// How large a manifest may be.
    pub limits: &'a Limits,
    /// What the environment says of the HSM.
    pub environment: &'a HsmEnvironment,
}

/// What came of a proposal or an acknowledgement.
#[derive(Clone)]
pub enum Outcome {
    /// Acknowledgements are missing.
    Waiting(Waiting),
    /// The update is in force.
    Applied(Applied),
    /// It was acknowledged by all who had to, but could not be applied: it is no longer pending, and the update log
    /// says so. The caller is told as of any refusal.
    Dropped(Refusal),
}

/// What the caller who proposed or acknowledged an update that waits for others is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What is missing.
    pub missing: Missing,
    /// Packages whose security version the update lowers.
    pub lowered: Vec<LoweredVersion>,
}

/// What the caller who brought an update into force is told.
#[derive(Clone)]
pub struct Applied {
    /// For each recovery key its encrypted recovery secret, if keys or threshold changed; otherwise empty.
    pub recovery_secrets: BTreeMap<Name, Vec<u8>>,
    /// Packages whose security version is lower now, for the message and the log.
    pub lowered: Vec<LoweredVersion>,
    /// What the operator should know, for the log.
    pub warnings: Vec<String>,
}

/// A security version that an update lowered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoweredVersion {
    /// The package.
    pub package: Name,
    /// Its security version before, with what updates had raised it to.
    pub from: u64,
    /// Its security version now.
    pub to: u64,
}

/// A pending update as anybody may see it.
pub struct PendingView {
    /// The manifest's bytes.
    pub manifest: Arc<[u8]>,
    /// SHA-256 of the bytes, lower-case hex.
    pub fingerprint: String,
    /// What is missing.
    pub missing: Missing,
}

impl Missing {
    /// The sentence clients read: `1 user still needs to acknowledge the update manifest`, or with more of them.
    pub fn message(&self) -> String {
        match self.acknowledgements {
            1 => "1 user still needs to acknowledge the update manifest".to_owned(),
            count => format!("{count} users still need to acknowledge the update manifest"),
        }
    }

    /// The same sentence with the names of those who may.
    pub fn message_with_names(&self) -> String {
        format!("{}: {}", self.message(), self.users.join(", "))
    }
}

impl Waiting {
    /// The sentence clients read, and which packages would have a lower security version.
    pub fn message(&self) -> String {
        self.naming_lowered(self.missing.message())
    }

    /// The same with the names of those who may acknowledge.
    pub fn message_with_names(&self) -> String {
        self.naming_lowered(self.missing.message_with_names())
    }

    fn naming_lowered(&self, message: String) -> String {
        naming(message, ". The update lowers SecurityVersion: ", &self.lowered)
    }
}

impl Applied {
    /// The sentence clients read, and which packages have a lower security version now.
    pub fn message(&self) -> String {
        let message = "All users have acknowledged the update manifest. Update successfully applied";
        naming(message.to_owned(), ". SecurityVersion lowered: ", &self.lowered)
    }
}

/// The message, with the packages behind it if there are any.
fn naming(mut message: String, introduction: &str, lowered: &[LoweredVersion]) -> String {
    for (index, lowered) in lowered.iter().enumerate() {
        message.push_str(if index == 0 { introduction } else { ", " });
        message.push_str(&lowered.to_string());
    }
    message
}

impl std::fmt::Display for LoweredVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} from {} to {}", self.package, self.from, self.to)
    }
}

/// The pending update.
///
/// # Errors
/// `NotFound` when none is pending, in every phase.
pub fn pending(state: &State) -> Result<PendingView, Refusal> {
    let deployment = state.deployment.as_ref().ok_or_else(none_pending)?;
    let pending = deployment.pending.as_ref().ok_or_else(none_pending)?;
    Ok(PendingView {
        manifest: Arc::clone(&pending.raw),
        fingerprint: hex::encode(pending.fingerprint),
        missing: missing(&deployment.manifest, &pending.acknowledged),
    })
}

/// Packages whose security version the pending update lowers. Reads the pending manifest, so that the answer is best
/// kept.
///
/// # Errors
/// As [`pending`].
pub fn lowered_by_pending(state: &State) -> Result<Vec<LoweredVersion>, Refusal> {
    let deployment = state.deployment.as_ref().ok_or_else(none_pending)?;
    Ok(lowered_by(deployment, &pending_of(deployment)?.raw))
}

/// Packages whose security version a manifest, which was accepted as an update, lowers.
pub(crate) fn lowered_by(present: &Deployment, raw: &[u8]) -> Vec<LoweredVersion> {
    lowered(present, manifest::security_versions(raw))
}

fn lowered(present: &Deployment, versions: impl IntoIterator<Item = (Name, u64)>) -> Vec<LoweredVersion> {
    versions
        .into_iter()
        .filter_map(|(package, to)| {
            let from = present.security_version(&package)?;
            (to < from).then_some(LoweredVersion { package, from, to })
        })
        .collect()
}

/// Refused while an update is pending: it would rest on a manifest about to be replaced.
pub(super) fn check_none_pending(deployment: &Deployment) -> Result<(), Refusal> {
    match deployment.pending {
        None => Ok(()),
        Some(_) => Err(Refusal::new(
            RefusalKind::Conflict,
            "update already in progress. Acknowledge the update to apply it, or cancel it to start a new one",
        )),
    }
}

fn none_pending() -> Refusal {
    Refusal::new(RefusalKind::NotFound, "no update in progress")
}

/// The pending update of a deployment.
fn pending_of(deployment: &Deployment) -> Result<&PendingUpdate, Refusal> {
    deployment.pending.as_ref().ok_or_else(none_pending)
}

/// What is missing when these users have acknowledged. Threshold 0 asks for all users who may update; a manifest
/// without such a user, where only marbles may, asks for none.
fn missing(manifest: &Manifest, acknowledged: &OrdSet<Name>) -> Missing {
    let (agreed, open): (Vec<&Name>, Vec<&Name>) =
        updaters(manifest).partition(|user| acknowledged.contains(*user));
    let needed = match manifest.config.update_threshold {
        0 => agreed.len() + open.len(),
        threshold => threshold,
    };
    match needed.saturating_sub(agreed.len()) {
        0 => Missing::default(),
        acknowledgements => Missing {
            acknowledgements,
            users: open.into_iter().map(Arc::clone).collect(),
        },
    }
}

/// Refused where the answer has no place for recovery secrets and there would be some.
fn check_yield(next: &NextDeployment, may_yield_recovery_secrets: bool) -> Result<(), Refusal> {
    if may_yield_recovery_secrets || next.recovery_secrets().is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalKind::Malformed,
        "this update changes recovery keys and yields new recovery secrets, which this version of the API cannot \
         answer with: use /api/v2",
    ))
}

/// The changes that bring an update into force, and what its last caller is told.
fn apply(
    _permit: &Permit<'_, UpdateManifest>,
    next: &NextDeployment,
    ambient: &Ambient<'_>,
) -> (Vec<Change>, Outcome) {
    (next.changes(ambient.now), Outcome::Applied(next.applied()))
}
