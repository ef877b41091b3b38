//! Why a request was not carried out.

use std::fmt;

/// The kind decides the code at the edge: one table per API, in the Coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The caller did not prove to be anybody this operation is for: no client certificate, or one that is
    /// nobody's.
    Unauthenticated,
    /// The manifest does not switch the feature on.
    FeatureDisabled,
    /// The request cannot be carried out in the form it has: a parameter is missing or ill-formed, or the answer
    /// has no place in the version of the API that was used.
    Malformed,
    /// Not possible in the phase the Coordinator is in.
    WrongPhase,
    /// The request or what it carries is not well-formed or breaks a rule.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// What the request names does not exist.
    NotFound,
    /// The request rests on something that has changed or is not there yet.
    Conflict,
    /// A limit was exceeded.
    TooLarge,
    /// Not possible now; the same request may succeed later.
    Unavailable,
    /// A fault of ours.
    Internal,
}

/// A request was refused: nothing happened.
///
/// What the caller reads and what the log keeps are separate: `message` is public, `detail` is for the log
/// alone. Neither ever holds a secret value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    kind: RefusalKind,
    message: String,
    detail: Option<String>,
}

impl Refusal {
    /// A refusal with a message for the caller.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: None,
        }
    }

    /// A fault of ours: the caller learns that it happened, the log learns what.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self {
            kind: RefusalKind::Internal,
            message: "internal error, see the Coordinator's log".to_owned(),
            detail: Some(detail.to_string()),
        }
    }

    /// The refusal every operation gives in a phase that does not know it.
    pub fn wrong_phase() -> Self {
        Self::new(RefusalKind::WrongPhase, "server is not in expected state")
    }

    /// The refusal of a feature that the manifest does not switch on; `gate` as `Config.FeatureGates` writes it.
    pub fn feature_disabled(gate: &str) -> Self {
        Self::new(
            RefusalKind::FeatureDisabled,
            format!("feature {gate} is not enabled: expected it in Config.FeatureGates of the manifest"),
        )
    }

    /// Adds what only the log may know.
    #[must_use]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// The kind.
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// What the caller may read.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What only the log may keep.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<crate::ambient::CryptoFault> for Refusal {
    fn from(fault: crate::ambient::CryptoFault) -> Self {
        Self::internal(fault)
    }
}
