//! The update log that users read: derived from the changes, one JSON object for each package, secret or step
//! (`spec/05`, "Update log").

use std::sync::Arc;

use serde::Serialize;

use crate::change::Change;

/// The lines a change adds to the log; most add none.
pub(crate) fn lines(change: &Change) -> Option<Arc<str>> {
    match change {
        Change::ManifestSet { at, .. } => Some(line(&Entry {
            time: at.to_string(),
            update: "Initial manifest set",
        })),
        Change::DataKeyDrawn { .. } | Change::SecretsGenerated { .. } | Change::ActivationCounted { .. } => {
            None
        }
    }
}

/// Field order is the order of the line.
#[derive(Serialize)]
struct Entry {
    time: String,
    update: &'static str,
}

fn line(entry: &Entry) -> Arc<str> {
    serde_json::to_string(entry).unwrap_or_default().into()
}
