//! Who may do what, and what the others are told (`spec/05`): the one table that the test asserts cell by cell and that
//! `docs/authorization.md` shows.

use marblerun_wire::rest::path;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// No certificate.
    Nobody,
    /// A certificate that is in no manifest.
    Stranger,
    /// A certificate with the subject of a user and another key.
    SameSubject,
    /// Another certificate with a user's key.
    SameKey,
    /// `ReadSecret` on the secret that is asked for; `ReadSecret` on another.
    Reader,
    ReaderOfOther,
    /// `WriteSecret` on the secret that is written; on another.
    Writer,
    WriterOfOther,
    /// `UpdateSecurityVersion` on the package that is updated; on another.
    Raiser,
    RaiserOfOther,
    /// `UpdateManifest`.
    Manager,
    /// A marble without roles.
    Marble,
    /// A marble whose entry names a role with `ReadSecret` on the secret that is asked for.
    MarbleWithRole,
    /// A marble that was activated before an update.
    OldMarble,
    /// A marble of another deployment.
    ForeignMarble,
}

use Principal::*;

pub const PRINCIPALS: [Principal; 15] = [
    Nobody,
    Stranger,
    SameSubject,
    SameKey,
    Reader,
    ReaderOfOther,
    Writer,
    WriterOfOther,
    Raiser,
    RaiserOfOther,
    Manager,
    Marble,
    MarbleWithRole,
    OldMarble,
    ForeignMarble,
];

impl Principal {
    /// Recognised as a user while the manifest is in force.
    pub fn is_user(self) -> bool {
        !matches!(
            self,
            Nobody | Stranger | SameSubject | SameKey | Marble | OldMarble | ForeignMarble
        )
    }

    /// Recognised as a marble while the manifest is in force.
    pub fn is_marble(self) -> bool {
        matches!(self, Marble | MarbleWithRole)
    }
}

/// What the Coordinator is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Recovery,
    AcceptingManifest,
    AcceptingMarbles,
    /// Accepting marbles, with an update that waits for acknowledgements.
    UpdatePending,
}

pub const PHASES: [Phase; 4] = [
    Phase::Recovery,
    Phase::AcceptingManifest,
    Phase::AcceptingMarbles,
    Phase::UpdatePending,
];

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or refused for what is asked and not for who asks.
    Allowed,
    /// 401 `unauthorized …`.
    Unauthenticated,
    /// `… is not allowed to …`.
    Denied,
    /// `server is not in expected state`.
    WrongPhase,
    /// 403: the feature gate is closed, as it always is without a manifest.
    GateClosed,
    /// 404: no update is in progress.
    NoUpdate,
    /// An update is in progress already.
    UpdateInProgress,
    /// 410.
    Gone,
}

/// Who may, where the phase allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Anybody,
    /// These users; others are denied, and who is no user is unauthenticated.
    Users(&'static [Principal]),
    Marbles,
}

/// One operation.
pub struct Operation {
    pub name: &'static str,
    pub method: &'static str,
    /// Path of version 1, with its query.
    pub v1: Option<&'static str>,
    /// Path of version 2, with its query.
    pub v2: Option<&'static str>,
    pub who: Who,
    /// What those who may get in each phase, in the order of [`PHASES`].
    pub phases: [Verdict; 4],
    /// The code of [`Verdict::Denied`] in version 1; it is 500 in version 2.
    pub denied_in_v1: u16,
}

use Verdict::*;

const fn reading(
    name: &'static str,
    v1: Option<&'static str>,
    v2: &'static str,
    phases: [Verdict; 4],
) -> Operation {
    Operation {
        name,
        method: "GET",
        v1,
        v2: Some(v2),
        who: Who::Anybody,
        phases,
        denied_in_v1: 500,
    }
}

/// Without a manifest nobody is a user or a marble, so the verdicts of those phases are never met.
const WITH_MANIFEST: [Verdict; 4] = [Unauthenticated, Unauthenticated, Allowed, Allowed];

pub const OPERATIONS: &[Operation] = &[
    reading(
        "read the status",
        Some(path::V1_STATUS),
        path::V2_STATUS,
        [Allowed; 4],
    ),
    reading(
        "read the evidence",
        Some(path::V1_QUOTE),
        path::V2_QUOTE,
        [Allowed; 4],
    ),
    reading(
        "read the manifest",
        Some(path::V1_MANIFEST),
        path::V2_MANIFEST,
        [Allowed; 4],
    ),
    reading(
        "read the update log",
        Some(path::V1_UPDATE),
        path::V2_UPDATE,
        [WrongPhase, WrongPhase, Allowed, Allowed],
    ),
    reading(
        "read the update that waits",
        Some(path::V1_UPDATE_MANIFEST),
        path::V2_UPDATE_MANIFEST,
        [NoUpdate, NoUpdate, NoUpdate, Allowed],
    ),
    reading("read this API's document", None, path::V2_OPENAPI, [Allowed; 4]),
    Operation {
        name: "set the first manifest",
        method: "POST",
        v1: Some(path::V1_MANIFEST),
        v2: Some(path::V2_MANIFEST),
        who: Who::Anybody,
        phases: [Allowed, Allowed, WrongPhase, WrongPhase],
        denied_in_v1: 400,
    },
    Operation {
        name: "read a secret",
        method: "GET",
        v1: Some("/secrets?s=token"),
        v2: Some("/api/v2/secrets?s=token"),
        who: Who::Users(&[Reader, MarbleWithRole]),
        phases: WITH_MANIFEST,
        denied_in_v1: 400,
    },
    Operation {
        name: "write a secret",
        method: "POST",
        v1: Some(path::V1_SECRETS),
        v2: Some(path::V2_SECRETS),
        who: Who::Users(&[Writer]),
        phases: WITH_MANIFEST,
        denied_in_v1: 400,
    },
    Operation {
        name: "raise a package's SecurityVersion",
        method: "POST",
        v1: Some(path::V1_UPDATE),
        v2: Some(path::V2_UPDATE),
        who: Who::Users(&[Raiser]),
        phases: [Unauthenticated, Unauthenticated, Allowed, UpdateInProgress],
        denied_in_v1: 400,
    },
    Operation {
        name: "propose an update",
        method: "POST",
        v1: Some(path::V1_UPDATE),
        v2: Some(path::V2_UPDATE),
        who: Who::Users(&[Manager]),
        phases: [Unauthenticated, Unauthenticated, Allowed, UpdateInProgress],
        denied_in_v1: 400,
    },
    Operation {
        name: "acknowledge an update",
        method: "POST",
        v1: Some(path::V1_UPDATE_MANIFEST),
        v2: Some(path::V2_UPDATE_MANIFEST),
        who: Who::Users(&[Manager]),
        phases: [Unauthenticated, Unauthenticated, NoUpdate, Allowed],
        denied_in_v1: 500,
    },
    Operation {
        name: "cancel an update",
        method: "POST",
        v1: Some(path::V1_UPDATE_CANCEL),
        v2: Some(path::V2_UPDATE_CANCEL),
        who: Who::Users(&[Manager]),
        phases: [Unauthenticated, Unauthenticated, NoUpdate, Allowed],
        denied_in_v1: 500,
    },
    Operation {
        name: "export the state",
        method: "POST",
        v1: None,
        v2: Some(path::V2_STATE_EXPORT),
        who: Who::Users(&[Manager]),
        phases: [Unauthenticated, Unauthenticated, Allowed, UpdateInProgress],
        denied_in_v1: 500,
    },
    Operation {
        name: "hand in a recovery secret",
        method: "POST",
        v1: None,
        v2: Some(path::V2_RECOVER),
        who: Who::Anybody,
        phases: [Allowed, WrongPhase, WrongPhase, WrongPhase],
        denied_in_v1: 500,
    },
    Operation {
        name: "hand in a recovery secret, version 1",
        method: "POST",
        v1: Some(path::V1_RECOVER),
        v2: None,
        who: Who::Anybody,
        phases: [Gone; 4],
        denied_in_v1: 500,
    },
    reading(
        "read the key for recovery secrets",
        None,
        path::V2_RECOVER_PUBLIC_KEY,
        [Allowed, WrongPhase, WrongPhase, WrongPhase],
    ),
    Operation {
        name: "have a quote signed",
        method: "POST",
        v1: None,
        v2: Some(path::V2_SIGN_QUOTE),
        who: Who::Anybody,
        phases: [GateClosed, GateClosed, Allowed, Allowed],
        denied_in_v1: 500,
    },
    Operation {
        name: "raise a counter",
        method: "POST",
        v1: None,
        v2: Some(path::V2_MONOTONIC_COUNTER),
        who: Who::Marbles,
        phases: [GateClosed, GateClosed, Allowed, Allowed],
        denied_in_v1: 500,
    },
];

impl Operation {
    /// What a principal gets in a phase.
    pub fn verdict(&self, principal: Principal, phase: Phase) -> Verdict {
        let [recovery, accepting, marbles, pending] = self.phases;
        let (verdict, manifest) = match phase {
            Phase::Recovery => (recovery, false),
            Phase::AcceptingManifest => (accepting, false),
            Phase::AcceptingMarbles => (marbles, true),
            Phase::UpdatePending => (pending, true),
        };
        match self.who {
            Who::Anybody => verdict,
            Who::Users(_) | Who::Marbles if !manifest => verdict,
            Who::Users(_) if !principal.is_user() => Unauthenticated,
            Who::Users(permitted) if !permitted.contains(&principal) => Denied,
            Who::Marbles if !principal.is_marble() => Unauthenticated,
            Who::Users(_) | Who::Marbles => verdict,
        }
    }
}
