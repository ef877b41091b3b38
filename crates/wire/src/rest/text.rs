//! Codes and texts that clients and scripts read, and that are therefore contract (`spec/05`).

/// Phase 1: the state is there but its key is not.
pub const PHASE_RECOVERY: u8 = 1;
/// Phase 2: no manifest yet.
pub const PHASE_ACCEPTING_MANIFEST: u8 = 2;
/// Phase 3: a manifest is in force.
pub const PHASE_ACCEPTING_MARBLES: u8 = 3;

/// What `status` says in phase 1.
pub const STATUS_RECOVERY: &str = "Coordinator is in recovery mode. Either upload a key to unseal the saved \
state, or set a new manifest. For more information on how to proceed, consult the documentation.";
/// What `status` says in phase 2.
pub const STATUS_ACCEPTING_MANIFEST: &str = "Coordinator is ready to accept a manifest.";
/// What `status` says in phase 3.
pub const STATUS_ACCEPTING_MARBLES: &str = "Coordinator is running correctly and ready to accept marbles.";

/// What `status` says in `phase`; `None` for a code that is no phase.
pub fn status_message(phase: u8) -> Option<&'static str> {
    match phase {
        PHASE_RECOVERY => Some(STATUS_RECOVERY),
        PHASE_ACCEPTING_MANIFEST => Some(STATUS_ACCEPTING_MANIFEST),
        PHASE_ACCEPTING_MARBLES => Some(STATUS_ACCEPTING_MARBLES),
        _ => None,
    }
}

/// Reply to the acknowledgement that applied a pending update.
pub const UPDATE_APPLIED: &str =
    "All users have acknowledged the update manifest. Update successfully applied";
/// Reply to `update-cancel`.
pub const UPDATE_CANCELLED: &str = "Update successfully cancelled";
/// Refusal when no update is pending.
pub const NO_UPDATE_IN_PROGRESS: &str = "no update in progress";
/// Part of every refusal of a request that does not fit the phase.
pub const UNEXPECTED_STATE: &str = "server is not in expected state";
/// Part of the refusal of an uploaded secret of the wrong length.
pub const SIZE_MISMATCH: &str = "declared size and actual size don't match";
/// Part of the refusal of a package update that lowers a version.
pub const DOWNGRADE: &str = "update manifest tries to downgrade SecurityVersion of the original manifest";
/// Beginning of every 401 for a user.
pub const UNAUTHORIZED_USER: &str = "unauthorized user:";
/// Beginning of every 401 for a marble.
pub const UNAUTHORIZED_MARBLE: &str = "unauthorized marble:";
/// Reply to the recovery secret that opened the state.
pub const RECOVERY_SUCCESSFUL: &str = "Recovery successful.";
/// Refusal of `POST /recover`, whose type of reply has no place for what version 2 says.
pub const RECOVER_V1_GONE: &str = "Recovering the Coordinator using the /recover API endpoint has been \
disabled. Use the /api/v2/recover endpoint instead.";

/// How many acknowledgements a pending update still needs; for none: [`UPDATE_APPLIED`]. Clients read the
/// first word.
pub fn acknowledgement_message(missing: usize) -> String {
    match missing {
        0 => UPDATE_APPLIED.to_owned(),
        1 => "1 user still needs to acknowledge the update manifest".to_owned(),
        more => format!("{more} users still need to acknowledge the update manifest"),
    }
}

/// [`acknowledgement_message`] with the names of those who may still acknowledge, as a `POST` of version 2
/// answers.
pub fn acknowledgement_message_naming(missing: usize, users: &[String]) -> String {
    let message = acknowledgement_message(missing);
    if missing == 0 || users.is_empty() {
        message
    } else {
        format!("{message}: {}", users.join(", "))
    }
}

/// Reply to a recovery secret that was taken while `remaining` are not yet collected; for none:
/// [`RECOVERY_SUCCESSFUL`].
pub fn recovery_message(remaining: usize) -> String {
    if remaining == 0 {
        RECOVERY_SUCCESSFUL.to_owned()
    } else {
        format!("Secret was processed successfully. Upload the next secret. Remaining secrets: {remaining}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_word_tells_how_many_are_missing() {
        assert_eq!(acknowledgement_message(0).split(' ').next(), Some("All"));
        assert_eq!(
            acknowledgement_message(1),
            "1 user still needs to acknowledge the update manifest"
        );
        assert_eq!(
            acknowledgement_message(7),
            "7 users still need to acknowledge the update manifest"
        );
        let users = ["bob".to_owned(), "carol".to_owned()];
        assert_eq!(
            acknowledgement_message_naming(1, &users),
            "1 user still needs to acknowledge the update manifest: bob, carol"
        );
        assert_eq!(acknowledgement_message_naming(0, &users), UPDATE_APPLIED);
    }
}
