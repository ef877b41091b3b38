//! The update log that users read: derived from the changes, one JSON object for each package, secret or step
//! (`spec/05`, "Update log").
//!
//! Every entry carries a hash over itself and the hash before it, so that whoever kept one hash can tell whether
//! the log up to there is still the same. Lines hold names and numbers, never a secret value.

use std::sync::Arc;

use serde::Serialize;

use crate::ambient::Timestamp;
use crate::change::{Change, Missing};
use crate::flow::update_manifest::lowered_by;
use crate::sealed::sha256;
use crate::secret::spec::SecretSpec;
use crate::state::Deployment;

/// One entry.
#[derive(Clone)]
pub(crate) struct LogEntry {
    /// A JSON object.
    pub(crate) line: Arc<str>,
    /// SHA-256(hash of the entry before ‖ bytes of the line); 32 zero bytes stand before the first entry.
    pub(crate) hash: [u8; 32],
}

impl LogEntry {
    /// The entry that follows `before`.
    pub(crate) fn after(before: Option<&Self>, line: Arc<str>) -> Self {
        let previous = before.map_or([0; 32], |entry| entry.hash);
        Self {
            hash: sha256(&[&previous, line.as_bytes()]),
            line,
        }
    }
}

/// The lines a change adds to the log; most add none. `deployment` is what the change is about to be applied to.
pub(crate) fn lines(change: &Change, deployment: &Deployment) -> Vec<Arc<str>> {
    let pending = || {
        let pending = deployment.pending.as_ref();
        pending.map(|pending| hex::encode(pending.fingerprint))
    };
    match change {
        Change::ManifestSet { at, .. } => vec![line(&Entry::new(*at, "Initial manifest set"))],
        Change::SecretsWritten { at, user, values } => {
            let specs = &deployment.manifest.secrets;
            let entry = |(name, _): &(Arc<str>, _)| {
                line(&Entry {
                    user: Some(user),
                    secret: Some(name),
                    secret_type: specs.get(name).map(SecretSpec::type_name),
                    ..Entry::new(*at, "Secret set")
                })
            };
            values.iter().map(entry).collect()
        }
        Change::PackagesRaised { at, user, versions } => {
            let entry = |(package, version): &(Arc<str>, u64)| {
                line(&Entry {
                    user: Some(user),
                    package: Some(package),
                    new_version: Some(*version),
                    ..Entry::new(*at, "SecurityVersion increased")
                })
            };
            versions.iter().map(entry).collect()
        }
        Change::UpdateProposed {
            at,
            user,
            raw,
            missing,
            ..
        } => {
            let entry = match missing.acknowledgements {
                0 => Entry::new(
                    *at,
                    "Complete Manifest update initiated by user. No further acknowledgements required",
                ),
                _ => Entry::new(
                    *at,
                    "Complete Manifest update initiated by user. Waiting for acknowledgments to apply the update",
                )
                .missing(missing),
            };
            let lowered: Vec<String> = lowered_by(deployment, raw)
                .iter()
                .map(ToString::to_string)
                .collect();
            vec![line(&Entry {
                user: Some(user),
                lowered: (!lowered.is_empty()).then_some(&lowered),
                fingerprint: Some(hex::encode(sha256(&[raw]))),
                ..entry
            })]
        }
        Change::UpdateAcknowledged { at, user, missing } => vec![line(&Entry {
            user: Some(user),
            fingerprint: pending(),
            ..Entry::new(*at, "Complete Manifest update acknowledged by user").missing(missing)
        })],
        Change::UpdateCancelled { at, user } => vec![line(&Entry {
            user: Some(user),
            fingerprint: pending(),
            ..Entry::new(*at, "Complete Manifest update cancelled by user")
        })],
        Change::UpdateDropped { at } => vec![line(&Entry {
            fingerprint: pending(),
            ..Entry::new(
                *at,
                "Complete Manifest update cancelled due to error during apply",
            )
        })],
        Change::UpdateApplied { at, manifest, .. } => vec![line(&Entry {
            fingerprint: Some(hex::encode(manifest.fingerprint)),
            ..Entry::new(*at, "Complete Manifest updated")
        })],
        Change::DataKeyDrawn { .. }
        | Change::SecretsGenerated { .. }
        | Change::ActivationCounted { .. }
        | Change::IntermediateRenewed { .. }
        | Change::CounterRaised { .. } => Vec::new(),
    }
}

/// Field order is the order of the line.
#[derive(Serialize)]
struct Entry<'a> {
    time: String,
    update: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<&'a str>,
    #[serde(rename = "new version", skip_serializing_if = "Option::is_none")]
    new_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    secret_type: Option<&'static str>,
    #[serde(rename = "missingAcknowledgments", skip_serializing_if = "Option::is_none")]
    missing_acknowledgements: Option<usize>,
    #[serde(rename = "missingUsers", skip_serializing_if = "Option::is_none")]
    missing_users: Option<&'a [Arc<str>]>,
    #[serde(rename = "loweredSecurityVersions", skip_serializing_if = "Option::is_none")]
    lowered: Option<&'a [String]>,
    #[serde(rename = "manifestFingerprint", skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

impl<'a> Entry<'a> {
    fn new(at: Timestamp, update: &'static str) -> Self {
        Self {
            time: at.to_string(),
            update,
            user: None,
            package: None,
            new_version: None,
            secret: None,
            secret_type: None,
            missing_acknowledgements: None,
            missing_users: None,
            lowered: None,
            fingerprint: None,
        }
    }

    fn missing(self, missing: &'a Missing) -> Self {
        Self {
            missing_acknowledgements: Some(missing.acknowledgements),
            missing_users: Some(&missing.users),
            ..self
        }
    }
}

fn line(entry: &Entry<'_>) -> Arc<str> {
    serde_json::to_string(entry).unwrap_or_default().into()
}
