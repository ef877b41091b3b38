//! The manifests of the examples are accepted by the code that the Coordinator checks manifests with.

#![expect(clippy::unwrap_used, reason = "a helper of the tests may fail as they do")]

use std::path::{Path, PathBuf};

use marblerun_core::manifest::{self, HsmEnvironment, Limits};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("manifest.json"))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found
}

fn check(text: &str) -> Result<Vec<String>, String> {
    let environment = HsmEnvironment::from_lookup(|_| false);
    match manifest::check(text.as_bytes(), &Limits::default(), &environment) {
        Ok(checked) => Ok(checked.warnings.iter().map(ToString::to_string).collect()),
        Err(error) => Err(error.to_string()),
    }
}

/// They are to be copied, so they give no reason for a warning either, but that there are no recovery keys.
#[test]
fn manifests_of_the_examples_are_accepted() {
    let examples = examples();
    assert!(examples.len() >= 3, "{examples:?}");
    for path in examples {
        let warnings = check(&std::fs::read_to_string(&path).unwrap());
        let warnings = warnings.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            warnings.iter().all(|warning| warning.contains("ecovery")),
            "{}: {warnings:?}",
            path.display()
        );
    }
}

/// The check above can fail: the same manifests with a package, a secret or a type gone are refused.
#[test]
fn broken_variants_of_the_examples_are_refused() {
    for path in examples() {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut broken = 0;
        for (from, to) in [
            ("\"Package\": \"", "\"Package\": \"no-"),
            ("\"Type\": \"symmetric-key\"", "\"Type\": \"no-key\""),
            (".Secrets.password", ".Secrets.forgotten"),
            (".Secrets.conversation", ".Secrets.forgotten"),
            (".Secrets.database", ".Secrets.forgotten"),
            ("\"RTMR1\"", "\"RTMR4\""),
            ("\"Measurement\": \"", "\"Measurement\": \"0"),
        ] {
            if text.contains(from) {
                broken += 1;
                assert!(
                    check(&text.replace(from, to)).is_err(),
                    "{}: {from}",
                    path.display()
                );
            }
        }
        assert!(broken >= 3, "{}", path.display());
    }
}
