//! The template language against Go's own: each template of the corpus gives the same bytes, or fails in both; and
//! what Go renders but a manifest may not hold is refused.

use std::collections::{BTreeMap, BTreeSet};

use marblerun_core::template::{Place, TemplateError};
use serde::Deserialize;

use crate::fixture::{Fixture, decode, read};

/// Templates whose outcome differs from Go's; each is explained in `docs/compatibility.md`.
const DIFFERENT: [&str; 6] = [
    "numbers/32",
    "numbers/33",
    "templates/12",
    "bytes/02",
    "bytes/06",
    "bytes/08",
];

/// Why a template that Go would render is refused when the manifest is set (`spec/02`), as `docs/compatibility.md`,
/// section "Templates", explains.
const REASONS: [&str; 4] = [
    "a secret, or a way to one, printed without an encoding",
    "a mistake in a branch that is not taken",
    "a secret that the manifest does not define",
    "a NUL byte in an environment variable",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    place: String,
    source: String,
    #[serde(default)]
    base64: bool,
    /// In `refused.json` alone: one of [`REASONS`].
    why: Option<String>,
}

impl Case {
    fn source(&self) -> Vec<u8> {
        if self.base64 {
            decode(&self.source)
        } else {
            self.source.clone().into_bytes()
        }
    }

    fn run(&self, fixture: &Fixture) -> Result<Vec<u8>, TemplateError> {
        let place = match self.place.as_str() {
            "file" => Place::File,
            "env" => Place::Env,
            other => panic!("{}: unknown place {other}", self.name),
        };
        fixture.run(place, &self.source())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    name: String,
    output: Option<String>,
    error: Option<String>,
}

/// The templates of `cases` with what Go makes of them.
fn load(cases: &str, expected: &str) -> Vec<(Case, Expectation)> {
    let cases: Vec<Case> = read(cases);
    let expectations: Vec<Expectation> = read(expected);
    assert!(
        cases
            .iter()
            .map(|case| &case.name)
            .eq(expectations.iter().map(|expected| &expected.name)),
        "{expected} is not of these templates: see README.md"
    );
    cases.into_iter().zip(expectations).collect()
}

/// The templates on which this engine and Go disagree, with an account of each.
fn disagreements(cases: &[(Case, Expectation)]) -> BTreeMap<String, String> {
    let fixture = Fixture::load();
    let mut found = BTreeMap::new();
    for (case, expected) in cases {
        let ours = case.run(&fixture);
        let theirs = expected.output.as_deref().map(decode);
        let same = match (&ours, &theirs) {
            (Ok(ours), Some(theirs)) => ours == theirs,
            (Err(_), None) => true,
            _ => false,
        };
        if !same {
            let ours = ours.map_or_else(|error| error.to_string(), |ours| format!("{ours:?}"));
            let error = expected.error.as_deref().unwrap_or_default();
            found.insert(
                case.name.clone(),
                format!("  {:?}\n  ours: {ours}\n  Go's: {theirs:?} {error}", case.source),
            );
        }
    }
    found
}

#[test]
fn go_agrees() {
    let cases = load("templates.json", "expected.json");
    assert!(cases.len() >= 400, "{} templates", cases.len());
    assert!(DIFFERENT.len() <= 10);
    let found = disagreements(&cases);
    let listed: BTreeSet<&str> = DIFFERENT.into();
    assert!(
        found.keys().map(String::as_str).eq(listed.iter().copied()),
        "{} templates differ, {} are listed\n{found:#?}",
        found.len(),
        listed.len()
    );
}

#[test]
fn a_wrong_expectation_is_found() {
    let mut cases = load("templates.json", "expected.json");
    let name = cases[0].0.name.clone();
    cases[0].1.output = Some("AAAA".to_owned());
    assert!(disagreements(&cases).contains_key(&name));
    cases[0].1.output = None;
    assert!(disagreements(&cases).contains_key(&name));
}

#[test]
fn what_go_renders_but_no_manifest_may_hold_is_refused() {
    let fixture = Fixture::load();
    let cases = load("refused.json", "refused_expected.json");
    let mut reasons = BTreeSet::new();
    for (case, expected) in &cases {
        let why = case.why.as_deref().expect("a reason");
        assert!(REASONS.contains(&why), "{}: unknown reason {why}", case.name);
        assert!(expected.output.is_some(), "{}: Go refuses it too", case.name);
        assert!(case.run(&fixture).is_err(), "{}: rendered, {why}", case.name);
        reasons.insert(why);
    }
    assert_eq!(reasons.len(), REASONS.len(), "every reason has a template");
}
