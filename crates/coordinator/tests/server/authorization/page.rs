//! `docs/authorization.md`, written from the table.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::table::{OPERATIONS, Operation, PHASES, Principal, Verdict, Who};

/// Set to write the page anew instead of comparing.
const RENEW: &str = "RENEW_AUTHORIZATION";

fn may(operation: &Operation) -> String {
    match operation.who {
        Who::Anybody => "anybody".to_owned(),
        Who::Marbles => "a marble, by its certificate under the current Marble root".to_owned(),
        Who::Users(permitted) => {
            let names: Vec<&str> = permitted
                .iter()
                .map(|principal| match principal {
                    Principal::Reader => "a user with `ReadSecret` on it",
                    Principal::Writer => "a user with `WriteSecret` on it",
                    Principal::Raiser => "a user with `UpdateSecurityVersion` on it",
                    Principal::Manager => "a user with `UpdateManifest`",
                    Principal::MarbleWithRole => "a marble whose entry names such a role",
                    other => panic!("{other:?} has no permission"),
                })
                .collect();
            names.join(", or ")
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "yes",
        Verdict::Unauthenticated => "401",
        Verdict::Denied => "denied",
        Verdict::WrongPhase => "wrong phase",
        Verdict::GateClosed => "403",
        Verdict::NoUpdate => "404",
        Verdict::UpdateInProgress => "update in progress",
        Verdict::Gone => "410",
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Who may do what\n\n\
         This page is made from the table that the tests assert, cell by cell, against a running Coordinator\n\
         (`crates/coordinator/tests/server/authorization`): 15 kinds of callers, 4 phases, both versions of the client API.\n\n\
         Who calls is told by the certificate of the TLS handshake, whose key has to be proven there. A user is recognised by\n\
         the bytes of his certificate: one with the same subject, or with the same key, is somebody else. A marble is\n\
         recognised by the signature of the *current* Marble root: a certificate from before an update, or of another\n\
         deployment, is nobody's. A marble whose entry names roles may what a user with these roles may, but its\n\
         acknowledgements of updates do not count.\n\n\
         | operation | version 1 | version 2 | who | recovery | no manifest | manifest | update waits |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for operation in OPERATIONS {
        let call = |path: Option<&str>| {
            path.map_or_else(String::new, |path| {
                format!(
                    "`{} {}`",
                    operation.method,
                    path.split('?').next().unwrap_or(path)
                )
            })
        };
        let phases: Vec<&str> = operation.phases.iter().map(|verdict| word(*verdict)).collect();
        assert_eq!(phases.len(), PHASES.len());
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            operation.name,
            call(operation.v1),
            call(operation.v2),
            may(operation),
            phases.join(" | ")
        )
        .unwrap();
    }
    page.push_str(
        "\nThe last four columns are for those who may. Everybody else gets, while a manifest is in force,\n\n\
         * 401 `unauthorized user: …` or `unauthorized marble: …` when the certificate is nobody's, or there is none;\n\
         * `user … is not allowed to …` when the user lacks the permission: 500 in version 2; 400 in version 1, but 500 for\n\
         \u{20} `/update-manifest` and `/update-cancel`.\n\n\
         *Wrong phase* and *update in progress* have the code of a lacking permission. 403: the feature gate of the manifest is\n\
         not open, which it never is without a manifest. Any other method is answered with 405, whoever asks.\n\n\
         To renew this page: `RENEW_AUTHORIZATION=1 cargo test -p marblerun-coordinator --test server authorization::page`.\n",
    );
    page
}

#[test]
fn the_page_is_of_the_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/authorization.md");
    let made = page();
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/authorization.md is not of this table; renew it as its last line says"
    );
}
