//! What came of a manifest that a user sent, as the replies of all versions tell it.

use marblerun_core::access::Caller;
use marblerun_core::change::Missing;
use marblerun_core::flow::update_manifest::{Applied, Outcome, Waiting};
use marblerun_core::refusal::Refusal;
use marblerun_wire::rest::{Base64Bytes, Named};

use super::manifest;

/// What came of it.
pub(super) enum Progress {
    /// Acknowledgements are missing.
    Waiting(Waiting),
    /// It is in force.
    Applied(Applied),
}

impl Progress {
    /// Of an outcome, which is logged. An update that could not be applied is answered as a refusal.
    pub(super) fn of(caller: &Caller, outcome: Outcome) -> Result<Self, Refusal> {
        let user = caller.name();
        match outcome {
            Outcome::Waiting(waiting) => {
                let missing_count = waiting.missing.acknowledgements;
                tracing::info!(%user, missing = missing_count, "an update waits for acknowledgements");
                for lowered in &waiting.lowered {
                    tracing::warn!(%user, %lowered, "an update that waits would lower a security version");
                }
                Ok(Self::Waiting(waiting))
            }
            Outcome::Applied(applied) => {
                for warning in &applied.warnings {
                    tracing::warn!(%user, warning, "an update was applied with a warning");
                }
                tracing::info!(%user, "an update was applied");
                Ok(Self::Applied(applied))
            }
            Outcome::Dropped(refusal) => {
                let reason = refusal.message();
                tracing::error!(%user, reason, "the pending update could not be applied and was dropped");
                Err(refusal)
            }
        }
    }

    /// The sentence clients read.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Waiting(waiting) => waiting.message(),
            Self::Applied(applied) => applied.message(),
        }
    }

    /// The same, with the names of those who may acknowledge.
    pub(super) fn message_with_names(&self) -> String {
        match self {
            Self::Waiting(waiting) => waiting.message_with_names(),
            Self::Applied(applied) => applied.message(),
        }
    }

    /// The sentence where replies usually have none: only if a security version was or would be lowered.
    pub(super) fn notice(&self) -> String {
        match self {
            Self::Applied(applied) if !applied.lowered.is_empty() => applied.message(),
            Self::Waiting(waiting) if !waiting.lowered.is_empty() => waiting.message(),
            _ => String::new(),
        }
    }

    /// How many acknowledgements are missing.
    pub(super) fn missing_acknowledgements(&self) -> usize {
        match self {
            Self::Waiting(waiting) => waiting.missing.acknowledgements,
            Self::Applied(_) => 0,
        }
    }

    /// Who may give them; `None` when it is in force.
    pub(super) fn missing_users(&self) -> Option<Vec<String>> {
        match self {
            Self::Waiting(waiting) => Some(names(&waiting.missing)),
            Self::Applied(_) => None,
        }
    }

    /// New recovery secrets; `None` when there are none.
    pub(super) fn recovery_secrets(&self) -> Option<Named<Base64Bytes>> {
        match self {
            Self::Applied(applied) if !applied.recovery_secrets.is_empty() => {
                Some(manifest::recovery_secrets(&applied.recovery_secrets))
            }
            _ => None,
        }
    }
}

/// Those who may acknowledge.
pub(super) fn names(missing: &Missing) -> Vec<String> {
    missing.users.iter().map(ToString::to_string).collect()
}
