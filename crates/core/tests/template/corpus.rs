//! The template language against Go's own: each template of the corpus gives the same bytes, or fails in both.

use std::collections::BTreeMap;

use marblerun_core::template::Place;
use serde::Deserialize;

use crate::fixture::{Fixture, decode, read};

/// Templates that Go renders and we refuse, each class demanded by the specification; the classes are explained
/// in `docs/compatibility.md`, section "Templates".
const STRICTER: [(&str, &[&str]); 4] = [
    (
        "a secret, or a way to one, printed without an encoding",
        &[
            "unprintable/01",
            "unprintable/02",
            "unprintable/03",
            "unprintable/04",
            "unprintable/05",
            "unprintable/06",
            "unprintable/07",
            "unprintable/08",
            "unprintable/09",
            "unprintable/10",
            "unprintable/11",
            "unprintable/12",
            "unprintable/13",
            "unprintable/14",
            "unprintable/15",
            "unprintable/16",
            "unprintable/17",
            "unprintable/18",
            "unprintable/19",
            "unprintable/20",
            "unprintable/21",
            "unprintable/22",
            "unprintable/23",
            "unprintable/24",
            "unprintable/25",
            "unprintable/26",
            "unprintable/27",
            "unprintable/28",
            "unprintable/29",
            "unprintable/30",
            "with/15",
            "not-taken/03",
        ],
    ),
    (
        "a mistake in a branch that is not taken",
        &[
            "not-taken/01",
            "not-taken/02",
            "not-taken/04",
            "not-taken/05",
            "not-taken/06",
            "not-taken/07",
            "not-taken/08",
            "not-taken/09",
            "not-taken/10",
            "not-taken/14",
            "not-taken/15",
        ],
    ),
    (
        "a secret that the manifest does not define",
        &[
            "not-taken/16",
            "not-taken/17",
            "not-taken/18",
            "not-taken/19",
            "not-taken/20",
            "len-index-slice/23",
        ],
    ),
    (
        "a NUL byte in an environment variable",
        &["env-encodings/25", "env-encodings/26"],
    ),
];

/// Templates that differ for another reason; each is explained in `docs/compatibility.md`.
const DIFFERENT: [&str; 6] = [
    "numbers/32",
    "numbers/33",
    "templates/12",
    "bytes/02",
    "bytes/06",
    "bytes/08",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    place: String,
    source: String,
    #[serde(default)]
    base64: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    name: String,
    output: Option<String>,
    error: Option<String>,
}

/// How one template compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Same,
    /// Go renders it, we refuse it.
    Stricter,
    /// Any other disagreement.
    Different,
}

#[test]
fn go_agrees() {
    let fixture = Fixture::load();
    let cases: Vec<Case> = read("templates.json");
    let expected: Vec<Expectation> = read("expected.json");
    assert!(cases.len() >= 400, "{} templates", cases.len());
    assert_eq!(
        cases.len(),
        expected.len(),
        "expected.json is not of these templates: see README.md"
    );

    let stricter: BTreeMap<&str, &str> = STRICTER
        .iter()
        .flat_map(|(class, names)| names.iter().map(move |name| (*name, *class)))
        .collect();
    assert!(DIFFERENT.len() <= 10);
    let mut wrong = Vec::new();
    for (case, expected) in cases.iter().zip(&expected) {
        assert_eq!(case.name, expected.name);
        let place = match case.place.as_str() {
            "file" => Place::File,
            "env" => Place::Env,
            other => panic!("{}: unknown place {other}", case.name),
        };
        let source = if case.base64 {
            decode(&case.source)
        } else {
            case.source.clone().into_bytes()
        };
        let ours = fixture.run(place, &source);
        let comparison = match (&ours, &expected.output) {
            (Ok(ours), Some(theirs)) if *ours == decode(theirs) => Comparison::Same,
            (Err(_), None) => Comparison::Same,
            (Err(_), Some(_)) => Comparison::Stricter,
            _ => Comparison::Different,
        };
        let name = case.name.as_str();
        let listed = match (stricter.contains_key(name), DIFFERENT.contains(&name)) {
            (true, false) => comparison == Comparison::Stricter,
            (false, true) => comparison != Comparison::Same,
            (false, false) => comparison == Comparison::Same,
            (true, true) => false,
        };
        if !listed {
            let ours = ours.map_or_else(|error| error.to_string(), |ours| format!("{ours:?}"));
            let theirs = expected.output.as_deref().map(decode);
            let error = expected.error.as_deref().unwrap_or_default();
            wrong.push(format!(
                "{name}: {comparison:?}\n  {:?}\n  ours: {ours}\n  Go's: {theirs:?} {error}",
                case.source
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} templates differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
