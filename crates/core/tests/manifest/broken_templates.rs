//! One template wrong at a time, each refused when the manifest is set, with the file or variable and the line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::support::{assert_refused, patched, refuse, set, small};

const FILE: &str = "/Marbles/marble/Parameters/Files/~1file";
const ENV: &str = "/Marbles/marble/Parameters/Env/KEY";
const FILE_PATH: &str = "Marbles.marble.Parameters.Files./file";
const ENV_PATH: &str = "Marbles.marble.Parameters.Env.KEY";

/// Wrong in files and variables alike: the template, the line, a word of the message.
const ANYWHERE: &[(&str, u32, &str)] = &[
    // The grammar.
    ("{{", 1, "not closed: expected `}}`"),
    ("a\n{{ hex .Secrets.shared", 2, "not closed: expected `}}`"),
    ("{{ }}", 1, "a value is missing"),
    ("{{ /* no end }}", 1, "unexpected '/'"),
    ("{{/* a */ 1}}", 1, "comment"),
    ("{{ \"no end }}", 1, "string is not closed"),
    ("{{ `no end }}", 1, "raw string is not closed"),
    ("{{ 'ab' }}", 1, "character"),
    ("{{ 'a }}", 1, "character is not closed"),
    ("{{ 12x }}", 1, "number"),
    ("{{ 0x }}", 1, "number"),
    ("{{ \"\\q\" }}", 1, "string"),
    ("{{ ( 1 }}", 1, "paren"),
    ("{{ 1 ) }}", 1, "without its `(`"),
    ("{{ | hex }}", 1, "unexpected `|`"),
    ("{{ 1 | 2 }}", 1, "expected a function"),
    ("{{ if }}x{{ end }}", 1, "missing in if"),
    ("{{ range }}x{{ end }}", 1, "missing in range"),
    ("{{ with }}x{{ end }}", 1, "missing in with"),
    ("{{ if true }}x", 1, "`{{end}}` is expected"),
    ("{{ end }}", 1, "`end` without"),
    ("{{ else }}", 1, "`else` without"),
    ("{{ if true }}{{ else }}{{ else }}{{ end }}", 1, "else"),
    ("{{ break }}", 1, "break"),
    ("{{ continue }}", 1, "continue"),
    ("{{ define }}{{ end }}", 1, "define"),
    ("{{ define \"a\" }}x", 1, "`{{end}}` is expected"),
    ("{{ if true }}{{ define \"a\" }}{{ end }}{{ end }}", 1, "define"),
    ("{{ define \"a\" }}1{{ end }}{{ define \"a\" }}2{{ end }}", 1, "a"),
    ("{{ template }}", 1, "template"),
    ("{{ template \"nowhere\" }}", 1, "nowhere"),
    ("{{ $x }}", 1, "$x"),
    ("{{ $x = 1 }}", 1, "$x"),
    ("{{ if true }}{{ $x := 1 }}{{ end }}{{ print $x }}", 1, "$x"),
    ("{{ $x, $y := 1 }}", 1, "too many variables"),
    ("{{ .Secrets.shared.. }}", 1, "."),
    ("{{ \u{7} }}", 1, "unexpected"),
    ("{{ # }}", 1, "unexpected"),
    ("{{ nil }}", 1, "nil"),
    // Functions.
    ("\n\n{{ upper \"x\" }}", 3, "unknown function `upper`"),
    ("{{ HEX .Secrets.shared }}", 1, "unknown function `HEX`"),
    ("{{ hex }}", 1, "argument"),
    ("{{ hex .Secrets.shared .Secrets.private }}", 1, "argument"),
    ("{{ not }}", 1, "argument"),
    ("{{ ne 1 }}", 1, "argument"),
    ("{{ printf }}", 1, "argument"),
    ("{{ call 1 }}", 1, "call"),
    ("{{ hex 1 }}", 1, "a secret"),
    ("{{ base64 \"text\" }}", 1, "a secret"),
    ("{{ pem (hex .Secrets.shared) }}", 1, "a secret"),
    ("{{ lt 1 \"a\" }}", 1, "compared"),
    ("{{ eq .Secrets.shared .Secrets.private }}", 1, ""),
    ("{{ len 3 }}", 1, "len"),
    ("{{ slice 3 1 }}", 1, "slice"),
    ("{{ range 1.5 }}{{ end }}", 1, "range"),
    // What is there.
    ("{{ hex .Secrets.nope }}", 1, "`nope` is not defined"),
    ("{{ hex .Previous.Secrets.nope }}", 1, "`nope` is not defined"),
    ("{{ hex (index .Secrets \"nope\") }}", 1, "`nope` is not defined"),
    ("{{ hex .secrets.shared }}", 1, "unknown field .secrets"),
    ("{{ hex .Previous.shared }}", 1, "unknown field .Previous.shared"),
    (
        "{{ pem .MarbleRun.RootCa.Cert }}",
        1,
        "unknown field .MarbleRun.RootCa",
    ),
    ("{{ pem .MARBLERUN.RootCA.Cert }}", 1, "unknown field .MARBLERUN"),
    ("{{ hex .Secrets.shared.Cert }}", 1, "has no .Cert"),
    ("{{ hex .Secrets.user.Cert }}", 1, "has no .Cert"),
    ("{{ pem .MarbleRun.RootCA.Private }}", 1, "has no .Private"),
    ("{{ hex .MarbleRun.SealKey.Cert }}", 1, "has no .Cert"),
    ("{{ .Secrets.shared.Value }}", 1, "unknown field .Value"),
    (
        "{{ hex .Secrets.shared.Private.Private }}",
        1,
        "has no field .Private",
    ),
    // Secrets are not printed by accident, wherever that would happen.
    ("{{ .Secrets.shared }}", 1, "without an encoding"),
    ("{{ .Secrets.cert.Private }}", 1, "without an encoding"),
    ("{{ .Secrets }}", 1, "cannot be printed"),
    ("{{ . }}", 1, "cannot be printed"),
    ("{{ .MarbleRun.SealKey }}", 1, "without an encoding"),
    ("{{ print .Secrets.shared }}", 1, "without an encoding"),
    ("{{ printf \"%s\" .Secrets.user }}", 1, "without an encoding"),
    ("{{ html .Secrets.shared }}", 1, "without an encoding"),
    ("{{ range .Secrets }}{{ . }}{{ end }}", 1, "without an encoding"),
    (
        "{{ with .Secrets.shared }}\n{{ . }}{{ end }}",
        2,
        "without an encoding",
    ),
    ("{{ $s := .Secrets.shared }}{{ $s }}", 1, "without an encoding"),
    (
        "{{ define \"t\" }}{{ . }}{{ end }}{{ template \"t\" .Secrets.shared }}",
        1,
        "without an encoding",
    ),
    // Branches that are never taken.
    (
        "{{ if false }}{{ hex .Secrets.nope }}{{ end }}",
        1,
        "`nope` is not defined",
    ),
    (
        "{{ if true }}{{ else }}{{ .Secrets.shared }}{{ end }}",
        1,
        "without an encoding",
    ),
    // Encodings that the type does not have.
    ("{{ pem .Secrets.shared }}", 1, "has no PEM form"),
    ("{{ pem .Secrets.user }}", 1, "has no PEM form"),
    ("{{ hex .MarbleRun.RootCA }}", 1, "needs the .Cert"),
];

/// Wrong in a file alone.
const IN_FILES: &[(&str, u32, &str)] = &[
    ("{{ string .Secrets.user }}", 1, "environment variables only"),
    (
        "{{ raw .Secrets.shared }}\n{{ string .Secrets.shared }}",
        2,
        "environment variables only",
    ),
];

/// Wrong in a variable alone.
const IN_VARIABLES: &[(&str, u32, &str)] = &[
    ("{{ raw .Secrets.shared }}", 1, "files only"),
    ("{{ string .Secrets.shared }}", 1, "plain secrets only"),
    ("{{ string .Secrets.cert }}", 1, "plain secrets only"),
    ("{{ string .Secrets.user.Public }}", 1, "a plain secret itself"),
    (
        "{{ string .MarbleRun.SealKey }}",
        1,
        "plain secrets of the manifest only",
    ),
];

#[test]
fn each_is_refused_by_its_path_and_line() {
    assert!(ANYWHERE.len() + IN_FILES.len() + IN_VARIABLES.len() >= 90);
    let in_files = ANYWHERE
        .iter()
        .chain(IN_FILES)
        .map(|case| (case, FILE, FILE_PATH));
    let in_variables = ANYWHERE
        .iter()
        .chain(IN_VARIABLES)
        .map(|case| (case, ENV, ENV_PATH));
    for ((template, line, word), pointer, path) in in_files.chain(in_variables) {
        let manifest = patched(pointer, json!(template));
        // Of one mistake a template may have more than one consequence; all are told at the same place.
        for problem in refuse(&manifest) {
            assert_eq!(problem.path, path, "{template:?}");
            let message = &problem.message;
            assert!(
                message.starts_with(&format!("line {line}: ")),
                "{template:?}: {message}"
            );
            assert!(
                message.contains(word),
                "{template:?}: {word:?} is not in {message}"
            );
        }
    }
}

#[test]
fn templates_in_other_encodings_are_looked_into() {
    let broken = "a\n{{ raw .Secrets.shared }}{{ hex .Secrets.nope }}";
    for data in [
        json!({"Data": broken, "Encoding": "string"}),
        json!({"Data": hex::encode(broken), "Encoding": "hex"}),
        json!({"Data": STANDARD.encode(broken), "Encoding": "base64"}),
    ] {
        assert_refused(
            &patched(FILE, data),
            FILE_PATH,
            "line 2: secret `nope` is not defined",
        );
    }
}

#[test]
fn every_marble_is_looked_at() {
    let mut manifest = small();
    let parameters = |template: &str| json!({"Files": {"/f": template}, "Env": {"V": template}});
    for (name, template) in [
        ("first", "{{ nope }}"),
        ("second", "fine"),
        ("third", "{{ .Secrets.shared }}"),
    ] {
        let marble = json!({"Package": "package", "Parameters": parameters(template)});
        set(&mut manifest, &format!("/Marbles/{name}"), marble);
    }
    let paths: Vec<_> = refuse(&manifest)
        .into_iter()
        .map(|problem| problem.path)
        .collect();
    let expected = ["first", "third"]
        .map(|marble| ["Files./f", "Env.V"].map(|place| format!("Marbles.{marble}.Parameters.{place}")));
    assert_eq!(paths, expected.concat());
}
