//! Limits, and manifests near them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use marblerun_core::manifest::{Limit, Limits, ManifestError, WarningKind, check, reopen};
use serde_json::json;

use super::support::{ID, accept, check_bytes, no_hsm, patched, small};

fn error_of(raw: &[u8], limits: &Limits) -> ManifestError {
    match check(raw, limits, &no_hsm()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

#[test]
fn what_is_not_json_is_told_apart() {
    for (raw, line, column) in [
        (&b""[..], 1, 0),
        (b"{", 1, 1),
        (b"{\n\"Packages\": x", 2, 13),
        (b"{} {}", 1, 4),
        (b"{}x", 1, 3),
        (b"{\"a\": 01}", 1, 8),
        (b"{\"a\": \"\xff\"}", 1, 8),
        (b"{\"\xc3\": 1}", 1, 3),
        (b"\xef\xbb\xbf{}", 1, 1),
        (b"{'a': 1}", 1, 2),
        (b"{\"a\": \"\\ud800\"}", 1, 14),
        (b"{\"a\": 1e999}", 1, 11),
    ] {
        let error = error_of(raw, &Limits::default());
        let ManifestError::Syntax {
            line: at_line,
            column: at_column,
            message,
        } = &error
        else {
            panic!("{raw:?}: {error}")
        };
        assert_eq!((*at_line, *at_column), (line, column), "{error}");
        assert!(!message.contains(" at line "), "{message}");
        assert!(
            error
                .to_string()
                .contains(&format!("at line {line} column {column}")),
            "{error}"
        );
    }
}

#[test]
fn limits_are_refused_by_name() {
    let raw = small().to_string();
    let tight = Limits {
        bytes: raw.len() - 1,
        ..Limits::default()
    };
    let error = error_of(raw.as_bytes(), &tight);
    assert!(
        matches!(
            error,
            ManifestError::TooLarge {
                limit: Limit::Bytes,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("limit-manifest"), "{error}");
    assert!(
        check(
            raw.as_bytes(),
            &Limits {
                bytes: raw.len(),
                entries: 4
            },
            &no_hsm()
        )
        .is_ok()
    );

    let error = error_of(
        raw.as_bytes(),
        &Limits {
            entries: 3,
            ..Limits::default()
        },
    );
    let ManifestError::TooLarge {
        limit: Limit::Entries,
        allowed: 3,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    // Elsewhere a low limit leaves room for the fields of structures.
    let elsewhere = format!(r#"{{"Extra":{{"x":[{}0]}}}}"#, "0,".repeat(1000));
    let error = error_of(
        elsewhere.as_bytes(),
        &Limits {
            entries: 3,
            ..Limits::default()
        },
    );
    assert!(
        matches!(
            error,
            ManifestError::TooLarge {
                limit: Limit::Entries,
                allowed: 1000,
                ..
            }
        ),
        "{error}"
    );
    let mut small_sections = small();
    small_sections["Users"] =
        json!({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1, "g": 1, "h": 1, "i": 1, "j": 1});
    let error = error_of(
        small_sections.to_string().as_bytes(),
        &Limits {
            entries: 9,
            ..Limits::default()
        },
    );
    assert_eq!(
        error,
        ManifestError::TooLarge {
            limit: Limit::Entries,
            allowed: 9,
            path: "Users".to_owned()
        }
    );
    assert!(error.to_string().contains("limit-entries"), "{error}");
    assert!(reopen(raw.as_bytes().into()).is_ok());
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| format!(r#"{{"Extra":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let error = error_of(nested(64).as_bytes(), &Limits::default());
    let ManifestError::TooLarge {
        limit: Limit::Nesting,
        allowed: 64,
        path,
    } = &error
    else {
        panic!("{error}")
    };
    assert!(path.starts_with("Extra[0][0]"), "{path}");
    // One less is only an unknown field (and no manifest).
    let error = error_of(nested(63).as_bytes(), &Limits::default());
    assert!(matches!(error, ManifestError::Problems { .. }), "{error}");
    let deep = "[".repeat(1_000_000);
    assert!(matches!(
        error_of(deep.as_bytes(), &Limits::default()),
        ManifestError::TooLarge {
            limit: Limit::Nesting,
            ..
        }
    ));
    assert!(matches!(
        reopen(nested(64).into_bytes().into()),
        Err(ManifestError::TooLarge { .. })
    ));
}

#[test]
fn dense_documents_are_bounded() {
    let list = format!("[{}0]", "0,".repeat(99_999));
    let raw = format!(r#"{{"Extra":[{}[]]}}"#, format!("{list},").repeat(41));
    let error = error_of(raw.as_bytes(), &Limits::default());
    assert!(
        matches!(
            error,
            ManifestError::TooLarge {
                limit: Limit::Values,
                allowed: Limits::VALUES,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn problems_and_warnings_are_counted_beyond_a_hundred() {
    let mut manifest = small();
    for number in 0..250 {
        manifest["Users"][format!("u{number}")] = json!({});
    }
    let error = error_of(manifest.to_string().as_bytes(), &Limits::default());
    let ManifestError::Problems { problems, omitted } = &error else {
        panic!("{error}")
    };
    assert_eq!((problems.len(), *omitted), (100, 150));
    assert!(error.to_string().ends_with("and 150 more problems"), "{error}");
    assert_eq!(error.to_string().lines().count(), 101);

    let mut manifest = patched("/Packages/unused", json!({}));
    for number in 0..250 {
        manifest["Config"][format!("u{number}")] = json!(1);
    }
    let (_, warnings) = accept(&manifest);
    let unknown: Vec<_> = warnings
        .iter()
        .filter(|warning| warning.kind == WarningKind::UnknownField)
        .collect();
    assert_eq!((unknown.len(), warnings.len()), (101, 102));
    assert!(unknown[100].message.starts_with("150 more"), "{}", unknown[100]);
}

#[test]
fn a_manifest_of_a_hundred_thousand_marbles_is_compiled_in_no_time() {
    const COUNT: usize = 100_000;
    let mut raw = format!(
        r#"{{"Packages":{{"p":{{"UniqueID":"{ID}"}}}},"Secrets":{{"k":{{"Type":"symmetric-key","Size":128,"Shared":true}}}},"Marbles":{{"#
    );
    for number in 0..COUNT {
        let comma = if number == 0 { "" } else { "," };
        write!(
            raw,
            r#"{comma}"m{number}":{{"Package":"p","MaxActivations":1,"Parameters":{{"Argv":["a"],"Env":{{"K":"{{{{ hex .Secrets.k }}}}","N":"{number}"}}}}}}"#
        )
        .unwrap();
    }
    raw.push_str("}}");
    let start = Instant::now();
    let checked = check_bytes(raw.as_bytes())
        .map_err(|error| error.to_string())
        .unwrap();
    // Well under a second when optimised; the bound catches what is quadratic in an unoptimised, busy build.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    let marbles = &checked.manifest.marbles;
    assert_eq!(marbles.len(), COUNT);
    assert!(Arc::ptr_eq(
        &marbles["m0"].references,
        &marbles["m99999"].references
    ));
    println!("{COUNT} marbles, {} bytes: {:?}", raw.len(), start.elapsed());
}

#[test]
fn templates_that_refer_to_everything_are_bounded() {
    let mut raw = format!(r#"{{"Packages":{{"p":{{"UniqueID":"{ID}"}}}},"Secrets":{{"#);
    for number in 0..20_000 {
        let comma = if number == 0 { "" } else { "," };
        write!(raw, r#"{comma}"s{number}":{{"Type":"plain","UserDefined":true}}"#).unwrap();
    }
    raw.push_str(r#"},"Marbles":{"m":{"Package":"p","Parameters":{"Files":{"#);
    for number in 0..220 {
        let comma = if number == 0 { "" } else { "," };
        write!(
            raw,
            r#"{comma}"f{number}":"{number}{{{{ range .Secrets }}}}{{{{ hex . }}}}{{{{ end }}}}""#
        )
        .unwrap();
    }
    raw.push_str("}}}}}");
    let error = error_of(raw.as_bytes(), &Limits::default());
    assert!(
        matches!(
            error,
            ManifestError::TooLarge {
                limit: Limit::References,
                ..
            }
        ),
        "{error}"
    );
}
