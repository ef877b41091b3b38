//! What is refused when a template is compiled, what is warned of, and what a template is found to need.

use std::collections::BTreeSet;

use marblerun_core::secret::value::SecretValue;
use marblerun_core::template::{Place, TemplateError, compile, render};

use crate::fixture::Fixture;

fn errors(place: Place, source: &str) -> Vec<TemplateError> {
    compile(source.as_bytes(), place, &Fixture::load().specs)
        .err()
        .unwrap_or_default()
}

/// Checks that the only error contains each of the texts.
fn refused(place: Place, source: &str, texts: &[&str]) {
    let errors = errors(place, source);
    assert_eq!(errors.len(), 1, "{source}: {errors:?}");
    for text in texts {
        assert!(
            errors[0].message.contains(text),
            "{source}: {}",
            errors[0].message
        );
    }
}

fn warnings(source: &str) -> Vec<String> {
    let compiled = compile(source.as_bytes(), Place::File, &Fixture::load().specs);
    compiled
        .map(|compiled| compiled.warnings.iter().map(ToString::to_string).collect())
        .unwrap_or_default()
}

/// The names in `secrets`, then `previous`, and whether the sealing key is needed.
fn references(source: &str) -> (BTreeSet<String>, BTreeSet<String>, bool) {
    let compiled = compile(source.as_bytes(), Place::File, &Fixture::load().specs);
    let compiled = compiled.unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
    let references = compiled.template.references();
    let names = |names: &BTreeSet<std::sync::Arc<str>>| names.iter().map(ToString::to_string).collect();
    (
        names(&references.secrets),
        names(&references.previous),
        references.seal_key,
    )
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn unknown_names_are_refused() {
    for place in [Place::File, Place::Env] {
        refused(
            place,
            "{{ nosuch 1 }}",
            &["unknown function `nosuch`", "hex, base64, pem"],
        );
        refused(
            place,
            "{{ hex .Secrets.nope }}",
            &["secret `nope` is not defined"],
        );
        refused(
            place,
            "{{ hex (index .Secrets \"nope\") }}",
            &["secret `nope` is not defined"],
        );
        refused(
            place,
            "{{ hex .Previous.Secrets.nope }}",
            &["secret `nope` is not defined"],
        );
        refused(
            place,
            "{{ .Secret }}",
            &[".Secret", "expected .Secrets, .Previous or .MarbleRun"],
        );
        refused(place, "{{ .Previous.Foo }}", &["expected .Previous.Secrets"]);
        refused(place, "{{ .MarbleRun.Foo }}", &["expected RootCA, MarbleCert"]);
        refused(
            place,
            "{{ .Secrets.key.Foo }}",
            &["expected Cert, Public, Private, Type"],
        );
        refused(place, "{{ .MarbleRun.SealKey.Type }}", &["has no field .Type"]);
        refused(
            place,
            "{{ .Secrets.certShared.Cert.Raw }}",
            &["has no field .Raw"],
        );
        refused(
            place,
            "{{ template \"nope\" }}",
            &["template \"nope\" is not defined"],
        );
        refused(place, "{{ $x }}", &["variable $x is not declared"]);
        refused(place, "{{ $x = 1 }}", &["variable $x does not exist", ":="]);
    }
}

#[test]
fn a_part_the_type_does_not_have_is_refused() {
    for encoding in ["hex", "base64", "pem", "raw"] {
        for secret in ["key", "private", "token"] {
            let source = format!("{{{{ {encoding} .Secrets.{secret}.Cert }}}}");
            refused(Place::File, &source, &["has no .Cert, only .Public, .Private"]);
        }
        for authority in ["RootCA", "CoordinatorRoot", "CoordinatorIntermediate"] {
            for part in ["Public", "Private"] {
                let source = format!("{{{{ {encoding} .MarbleRun.{authority}.{part} }}}}");
                refused(Place::File, &source, &[&format!("has no .{part}, only .Cert")]);
            }
        }
        refused(
            Place::File,
            &format!("{{{{ {encoding} .MarbleRun.SealKey.Cert }}}}"),
            &["has no .Cert"],
        );
    }
    for encoding in ["hex", "base64", "raw"] {
        refused(
            Place::File,
            &format!("{{{{ {encoding} .MarbleRun.RootCA }}}}"),
            &["needs the .Cert"],
        );
    }
}

#[test]
fn encodings_have_their_place() {
    refused(
        Place::Env,
        "{{ raw .Secrets.key }}",
        &["`raw` is for files only", "string"],
    );
    refused(
        Place::File,
        "{{ string .Secrets.token }}",
        &["`string` is for environment variables only", "raw"],
    );
    refused(
        Place::Env,
        "{{ string .Secrets.key }}",
        &["plain secrets only", "symmetric-key"],
    );
    refused(
        Place::Env,
        "{{ string .Secrets.certRsa }}",
        &["plain secrets only", "cert-rsa"],
    );
    refused(
        Place::Env,
        "{{ string .Secrets.token.Private }}",
        &["takes a plain secret itself"],
    );
    refused(
        Place::Env,
        "{{ string .MarbleRun.SealKey }}",
        &["plain secrets of the manifest only"],
    );
    refused(
        Place::File,
        "{{ pem .Secrets.key }}",
        &["no PEM form", ".Public or .Private"],
    );
    refused(Place::File, "{{ pem .Secrets.token }}", &["no PEM form"]);
    refused(Place::File, "{{ pem .MarbleRun.SealKey }}", &["no PEM form"]);
    refused(
        Place::File,
        "{{ hex \"a\" }}",
        &["takes a secret or a part of one, not string"],
    );
    refused(Place::File, "{{ hex .Secrets }}", &["not `.Secrets`"]);
    refused(Place::File, "{{ hex nil }}", &["does not exist"]);
}

#[test]
fn a_secret_without_an_encoding_is_refused() {
    for value in [
        ".Secrets.key",
        ".Secrets.key.Private",
        ".Secrets.certRsa.Cert",
        ".MarbleRun.SealKey",
        ".Secrets",
    ] {
        for call in [
            "",
            "print ",
            "println 1 ",
            "printf \"%v\" ",
            "html ",
            "js ",
            "urlquery ",
            "or false ",
        ] {
            let source = format!("{{{{ {call}{value} }}}}");
            let errors = errors(Place::File, &source);
            assert_eq!(errors.len(), 1, "{source}: {errors:?}");
        }
    }
    refused(
        Place::File,
        "{{ len .Secrets.key.Private }}",
        &["without an encoding"],
    );
    refused(
        Place::File,
        "{{ index .Secrets.key.Private 0 }}",
        &["without an encoding"],
    );
    // Also where it may happen on one of several ways only.
    let source = "{{ $x := \"\" }}{{ if .Secrets.key.Shared }}{{ $x = .Secrets.key }}{{ end }}{{ $x }}";
    refused(Place::File, source, &["secret `key` is used without an encoding"]);
    let source = "{{ $x := 1 }}{{ range 3 }}{{ $x }}{{ $x = .  }}{{ $x = $.Secrets.key }}{{ end }}";
    refused(Place::File, source, &["secret `key` is used without an encoding"]);
    let source = "{{ $x := 1 }}{{ range 3 }}{{ $x = $.Secrets.key }}{{ break }}{{ end }}{{ $x }}";
    refused(Place::File, source, &["secret `key` is used without an encoding"]);
    let source = "{{ define \"t\" }}{{ . }}{{ end }}{{ template \"t\" 1 }}{{ template \"t\" .Secrets.key }}";
    refused(Place::File, source, &["secret `key` is used without an encoding"]);
}

#[test]
fn a_variable_that_holds_no_secret_any_more_is_printed() {
    let source = "{{ $x := .Secrets.key }}{{ $x = \"a\" }}{{ $x }}";
    assert_eq!(
        Fixture::load().run(Place::File, source.as_bytes()),
        Ok(b"a".to_vec())
    );
}

#[test]
fn branches_not_taken_are_checked() {
    for source in [
        "{{ if false }}{{ hex .Secrets.nope }}{{ end }}",
        "{{ if true }}{{ else }}{{ hex .Secrets.nope }}{{ end }}",
        "{{ if true }}{{ else if hex .Secrets.nope }}{{ end }}",
        "{{ with 0 }}{{ hex $.Secrets.nope }}{{ end }}",
        "{{ range 0 }}{{ hex $.Secrets.nope }}{{ end }}",
        "{{ range 1 }}{{ else }}{{ hex $.Secrets.nope }}{{ end }}",
        "{{ range 1 }}{{ break }}{{ hex $.Secrets.nope }}{{ end }}",
        "{{ and false (hex .Secrets.nope) }}",
        "{{ if false }}{{ template \"t\" . }}{{ end }}{{ define \"t\" }}{{ hex .Secrets.nope }}{{ end }}",
    ] {
        refused(Place::File, source, &["secret `nope` is not defined"]);
    }
}

#[test]
fn arguments_are_checked() {
    refused(Place::File, "{{ hex }}", &["`hex` takes 1 argument(s), not 0"]);
    refused(Place::File, "{{ eq 1 }}", &["`eq` takes at least 2"]);
    refused(
        Place::File,
        "{{ len 3 }}",
        &["`len` takes a string or `.Secrets`, not int"],
    );
    refused(
        Place::File,
        "{{ eq 1 \"a\" }}",
        &["int and string cannot be compared"],
    );
    refused(
        Place::File,
        "{{ lt true false }}",
        &["bool and bool cannot be compared"],
    );
    refused(Place::File, "{{ printf 1 }}", &["format, a string"]);
    refused(
        Place::File,
        "{{ index .Secrets 1 }}",
        &["a name, a string, not int"],
    );
    refused(Place::File, "{{ slice 1 1 }}", &["`slice` takes a string"]);
    refused(
        Place::File,
        "{{ slice \"a\" \"b\" }}",
        &["`slice` takes integers"],
    );
    refused(
        Place::File,
        "{{ range \"abc\" }}{{ end }}",
        &["`range` cannot go through string"],
    );
    refused(
        Place::File,
        "{{ range $a, $b := 3 }}{{ end }}",
        &["one variable only"],
    );
    refused(Place::File, "{{ call 1 }}", &["nothing to call"]);
    refused(Place::File, "{{ nil }}", &["`nil` alone"]);
    refused(Place::File, "{{ .Secrets.key.Size 1 }}", &["is not a function"]);
    refused(Place::File, "{{ 1 | 2 }}", &["cannot stand after `|`"]);
}

#[test]
fn all_errors_are_given_in_the_order_of_the_text() {
    let source = "{{ hex .Secrets.b }}\n{{ pem .Secrets.key }}\n\n{{ .Secrets.key }} {{ nil }}\n{{ template \"t\" . }}";
    let found = errors(Place::File, source);
    let lines: Vec<u32> = found.iter().map(|error| error.line).collect();
    assert_eq!(lines, [1, 2, 4, 4, 5], "{found:?}");
    assert!(found.iter().all(|error| error.empty_secret.is_none()));
    assert!(found[0].to_string().starts_with("line 1: "));
}

#[test]
fn many_errors_are_cut_off() {
    let source = "{{ nil }}\n".repeat(100_000);
    let found = errors(Place::File, &source);
    assert_eq!(found.len(), 100);
}

#[test]
fn grammar_errors_name_their_line() {
    for (source, line, text) in [
        ("a\n{{ if }}", 2, "a value is missing in if"),
        ("a\n\n{{ \"a\n\" }}", 3, "not closed on its line"),
        ("{{ `\n\n` | 3 }}", 3, "cannot stand after `|`"),
        ("\n{{ if true }}\n", 2, "`{{end}}` is expected"),
        ("\n{{ end }}", 2, "without the structure"),
        ("{{/* \n */ }}", 2, "comment"),
        ("{{\n(1\n}}", 3, "parenthesis is not closed"),
        ("{{\n 1i }}", 2, "imaginary"),
        ("\n{{ break }}", 2, "outside of `range`"),
        (
            "\n{{ if true }}{{ define \"x\" }}{{ end }}{{ end }}",
            2,
            "outside of other structures",
        ),
        (
            "{{ define \"x\" }}a{{ end }}\n{{ define \"x\" }}a{{ end }}",
            2,
            "more than once",
        ),
    ] {
        let found = errors(Place::File, source);
        assert_eq!(found.len(), 1, "{source:?}: {found:?}");
        assert_eq!(found[0].line, line, "{source:?}: {found:?}");
        assert!(found[0].message.contains(text), "{source:?}: {found:?}");
    }
}

#[test]
fn nul_bytes_in_the_text_of_a_variable_are_refused() {
    refused(Place::Env, "a\0b", &["NUL"]);
    assert_eq!(Fixture::load().run(Place::File, b"a\0b"), Ok(b"a\0b".to_vec()));
}

#[test]
fn authors_are_warned() {
    assert_eq!(
        warnings("{{ hex .Secrets.key }}{{ pem .Secrets.certRsa.Private }}{{ pem .MarbleRun.RootCA.Cert }}"),
        [""; 0]
    );
    let old = warnings("a\n{{ pem .Marblerun.RootCA.Cert }}{{ $.Marblerun.RootCA.Cert | hex }}");
    assert_eq!(old, ["line 2: `.Marblerun` is an old spelling of `.MarbleRun`"]);
    for source in [
        "{{ pem .Secrets.key.Private }}",
        "{{ pem .Secrets.token.Public }}",
        "{{ pem .MarbleRun.SealKey.Private }}",
        "{{ pem (slice .Secrets.key.Private 1) }}",
    ] {
        let found = warnings(source);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert!(found[0].contains("no key structure"), "{found:?}");
    }
}

#[test]
fn only_what_is_needed_is_referred_to() {
    let none = (names(&[]), names(&[]), false);
    for source in [
        "text",
        "{{ .Secrets.key.Type }}{{ .Secrets.key.Size }}{{ .Secrets.key.Shared }}{{ .Secrets.key.ValidFor }}",
        "{{ if .Secrets.key.UserDefined }}a{{ end }}{{ if .Secrets.key }}b{{ end }}{{ len .Secrets }}",
        "{{ range $k, $v := .Secrets }}{{ $k }}={{ $v.Type }}{{ end }}",
        "{{ $k := .Secrets.key }}{{ $k.Size }}",
        // Generated secrets always have a value.
        "{{ if .Secrets.key.Private }}a{{ end }}{{ with .Previous.Secrets.certRsa.Cert }}b{{ end }}",
        "{{ pem .MarbleRun.RootCA.Cert }}{{ pem .MarbleRun.MarbleCert.Private }}",
        "{{ define \"t\" }}{{ hex .Secrets.key }}{{ end }}",
    ] {
        assert_eq!(references(source), none, "{source}");
    }
    for (source, current) in [
        ("{{ hex .Secrets.key }}", &["key"][..]),
        ("{{ if false }}{{ hex .Secrets.key }}{{ end }}", &["key"]),
        (
            "{{ pem .Secrets.certRsa.Cert }}{{ .Secrets.certEd | pem }}",
            &["certRsa", "certEd"],
        ),
        ("{{ $k := .Secrets.key }}{{ hex $k.Private }}", &["key"]),
        (
            "{{ $k := .Secrets.key }}{{ $k = .Secrets.private }}{{ hex $k }}",
            &["private"],
        ),
        (
            "{{ $k := .Secrets.key }}{{ if $k.Shared }}{{ $k = .Secrets.private }}{{ end }}{{ hex $k }}",
            &["key", "private"],
        ),
        (
            "{{ $k := .Secrets.key }}{{ range 2 }}{{ hex $k }}{{ $k = $.Secrets.private }}{{ end }}",
            &["key", "private"],
        ),
        ("{{ hex (index .Secrets \"my-key\") }}", &["my-key"]),
        (
            "{{ with .Secrets.key }}{{ hex . }}{{ hex .Private }}{{ end }}",
            &["key"],
        ),
        ("{{ with .Secrets }}{{ hex .key }}{{ end }}", &["key"]),
        (
            "{{ hex (or .Secrets.unset.Private .Secrets.key.Private) }}",
            &["key", "unset"],
        ),
        ("{{ and .Secrets.key (hex .Secrets.private) }}", &["private"]),
        (
            "{{ if .Secrets.unset.Private }}a{{ end }}{{ not .Secrets.token.Public }}",
            &["unset", "token"],
        ),
        (
            "{{ template \"t\" .Secrets.key }}{{ define \"t\" }}{{ hex . }}{{ end }}",
            &["key"],
        ),
        (
            "{{ template \"t\" .Secrets.key }}{{ template \"t\" .Secrets.token }}{{ define \"t\" }}{{ raw . }}{{ end }}",
            &["key", "token"],
        ),
        ("{{ hex (slice .Secrets.key.Private 1 2) }}", &["key"]),
        ("{{ not (slice .Secrets.key.Private 1 2) }}", &["key"]),
    ] {
        assert_eq!(
            references(source),
            (names(current), names(&[]), false),
            "{source}"
        );
    }
    assert_eq!(
        references("{{ hex .Previous.Secrets.key }}"),
        (names(&[]), names(&["key"]), false)
    );
    assert_eq!(
        references("{{ hex .MarbleRun.SealKey }}"),
        (names(&[]), names(&[]), true)
    );
    assert_eq!(
        references("{{ hex .Marblerun.SealKey.Public }}"),
        (names(&[]), names(&[]), true)
    );
}

#[test]
fn computed_names_refer_to_all() {
    let all: BTreeSet<String> = Fixture::load().specs.keys().map(ToString::to_string).collect();
    for source in [
        "{{ $n := print \"k\" \"ey\" }}{{ hex (index .Secrets $n) }}",
        "{{ range .Secrets }}{{ if .Shared }}{{ hex . }}{{ end }}{{ end }}",
        "{{ range $k, $v := .Secrets }}{{ hex (index $.Secrets $k).Private }}{{ end }}",
        "{{ range .Secrets }}{{ template \"t\" . }}{{ end }}{{ define \"t\" }}{{ if false }}{{ pem .Cert }}{{ end }}{{ end }}",
    ] {
        assert_eq!(references(source), (all.clone(), names(&[]), false), "{source}");
    }
    let previous = references("{{ range .Previous.Secrets }}{{ if .Shared }}{{ hex . }}{{ end }}{{ end }}");
    assert_eq!(previous, (names(&[]), all, false));
    // Whether any of them is there can only be asked of user-defined ones.
    let (asked, _, _) = references("{{ range .Secrets }}{{ if .Private }}a{{ end }}{{ end }}");
    assert_eq!(
        asked,
        names(&["binary", "markup", "token", "unset", "unsetKey", "userCert"])
    );
}

#[test]
fn what_is_computed_is_checked_when_it_is_rendered() {
    let fixture = Fixture::load();
    for (source, text) in [
        (
            "\n{{ range $k, $v := .Secrets }}{{ if eq $k \"key\" }}{{ hex $v.Cert }}{{ end }}{{ end }}",
            "has no .Cert",
        ),
        (
            "\n{{ hex (index .Secrets (print \"no\" \"pe\")) }}",
            "`nope` is not defined",
        ),
        ("\n{{ pem (index .Secrets (print \"ke\" \"y\")) }}", "no PEM form"),
        ("\n{{ index \"abc\" 3 }}", "outside of the string"),
        ("\n{{ slice \"abc\" 2 1 }}", "do not grow"),
    ] {
        let error = fixture.run(Place::File, source.as_bytes()).expect_err(source);
        assert_eq!(error.line, 2, "{source}");
        assert!(error.message.contains(text), "{source}: {error}");
        assert_eq!(error.empty_secret, None);
    }
    let source = "{{ string (index .Secrets (print \"ke\" \"y\")) }}";
    let error = fixture.run(Place::Env, source.as_bytes()).expect_err(source);
    assert!(error.message.contains("plain secrets only"), "{error}");
}

#[test]
fn an_empty_user_defined_secret_is_named() {
    let fixture = Fixture::load();
    for (source, secret) in [
        ("a\n{{ hex .Secrets.unset }}", "unset"),
        ("a\n{{ base64 .Secrets.unsetKey.Private }}", "unsetKey"),
        ("a\n{{ pem .Secrets.userCert.Private }}", "userCert"),
        ("a\n{{ hex .Previous.Secrets.token }}", "token"),
        ("a\n{{ hex (slice .Secrets.unset.Private 1) }}", "unset"),
        (
            "a\n{{ range $k, $v := .Secrets }}{{ if eq $k \"unset\" }}{{ hex $v }}{{ end }}{{ end }}",
            "unset",
        ),
    ] {
        let error = fixture.run(Place::File, source.as_bytes()).expect_err(source);
        assert_eq!(error.empty_secret.as_deref(), Some(secret), "{source}: {error}");
        assert_eq!(error.line, 2, "{source}");
        assert!(error.message.contains(secret), "{source}: {error}");
    }
    let error = fixture
        .run(Place::Env, b"{{ string .Secrets.unset }}")
        .expect_err("empty");
    assert_eq!(error.empty_secret.as_deref(), Some("unset"));
}

#[test]
fn a_generated_secret_without_a_value_is_no_empty_secret() {
    let mut fixture = Fixture::load();
    fixture.secrets.remove("key");
    let error = fixture
        .run(Place::File, b"{{ hex .Secrets.key }}")
        .expect_err("missing");
    assert_eq!(error.empty_secret, None);
    fixture.seal_key = None;
    assert!(fixture.run(Place::File, b"{{ hex .MarbleRun.SealKey }}").is_err());
}

#[test]
fn nul_bytes_never_reach_an_environment_variable() {
    let fixture = Fixture::load();
    for source in [
        "{{ string .Secrets.binary }}",
        "{{ \"a\\x00\" }}",
        "{{ printf \"%c\" 0 }}",
    ] {
        let error = fixture.run(Place::Env, source.as_bytes()).expect_err(source);
        assert!(error.message.contains("NUL"), "{source}: {error}");
    }
    assert!(fixture.run(Place::Env, b"{{ hex .Secrets.binary }}").is_ok());
}

#[test]
fn values_not_referred_to_may_be_missing() {
    let fixture = Fixture::load();
    let mut poor = Fixture::load();
    let source =
        "{{ hex .Secrets.key }}{{ if .Secrets.certRsa.Private }}{{ .Secrets.certRsa.Size }}{{ end }}";
    let compiled = compile(source.as_bytes(), Place::File, &fixture.specs).expect("compiles");
    let needed = compiled.template.references().clone();
    poor.secrets.retain(|name, _| needed.secrets.contains(name));
    poor.previous.clear();
    poor.seal_key = None;
    assert_eq!(poor.secrets.len(), 1);
    let rich = render(&compiled.template, &fixture.data()).expect("renders");
    let frugal = render(&compiled.template, &poor.data()).expect("renders");
    assert_eq!(rich, frugal);
}

#[test]
fn a_pem_block_has_lines_of_64_characters() {
    let output = Fixture::load()
        .run(Place::File, b"{{ pem .Secrets.certRsa.Cert }}")
        .expect("renders");
    let text = String::from_utf8(output).expect("ASCII");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.first(), Some(&"-----BEGIN CERTIFICATE-----"));
    assert_eq!(lines.last(), Some(&"-----END CERTIFICATE-----"));
    assert!(text.ends_with("-----\n"));
    let body = &lines[1..lines.len() - 1];
    assert!(body[..body.len() - 1].iter().all(|line| line.len() == 64));
    assert_eq!(body.last().map(|line| line.len()), Some(204 - 3 * 64));
}

/// As recorded from the original: the public key of a marble, and the secrets of a manifest by `range`.
#[test]
fn recorded_output_is_the_same() {
    const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEzUtB2wXlj4LIZrxqqR8H8O7LcovZdR93\n\
        Xm34SFsYXpwfKTNJzuj4FeuP5Lq6XhATBV3kgqDy+2QxYV7eKz2ApeFnDMno5mUJ\n\
        WONemQAR4iifmNVFbSX/vmkBRYhBAsyW\n\
        -----END PUBLIC KEY-----\n";
    const RANGE: &str = "{{ if .Secrets.shared.Shared }}shared{{ else }}own{{ end }} {{ len .Secrets.shared.Type }} \
        {{- range $k, $v := .Secrets }} {{ $k }}={{ $v.Size }}{{ end }}";
    const RANGE_OUTPUT: &str = "shared 13 cert224=224 certCA=384 certEd=0 certRsa=2048 certShared=256 private=256 \
        private128=128 shared=128 token=0 userCert=2048 userKey=128";
    const SIZES: [(&str, &str, u64); 11] = [
        ("shared", "key", 128),
        ("private", "private", 256),
        ("private128", "private", 128),
        ("certShared", "certShared", 256),
        ("certRsa", "certRsa", 2048),
        ("certEd", "certEd", 0),
        ("cert224", "certShared", 224),
        ("certCA", "certShared", 384),
        ("token", "token", 0),
        ("userKey", "unsetKey", 128),
        ("userCert", "userCert", 2048),
    ];

    let mut fixture = Fixture::load();
    let body: String = PUBLIC_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let der = crate::fixture::decode(&body);
    if let Some(SecretValue::Certificate(value)) = fixture.secrets.get_mut("certShared") {
        value.public = der.into();
    }
    let output = fixture
        .run(Place::File, b"{{ pem .Secrets.certShared.Public }}")
        .expect("renders");
    assert_eq!(String::from_utf8_lossy(&output), PUBLIC_KEY);

    let specs = SIZES.iter().map(|(name, model, size)| {
        let mut spec = fixture.specs[*model].clone();
        spec.size = *size;
        (std::sync::Arc::from(*name), spec)
    });
    fixture.specs = specs.collect();
    let output = fixture.run(Place::File, RANGE.as_bytes()).expect("renders");
    assert_eq!(String::from_utf8_lossy(&output), RANGE_OUTPUT);
}

#[test]
fn secrets_given_to_string_are_known() {
    let strings = |source: &str| -> BTreeSet<String> {
        let compiled = compile(source.as_bytes(), Place::Env, &Fixture::load().specs);
        let compiled = compiled.unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
        compiled
            .template
            .strings()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(strings("{{ hex .Secrets.token }}"), names(&[]));
    assert_eq!(
        strings("{{ if false }}{{ string .Secrets.token }}{{ end }}"),
        names(&["token"])
    );
    assert_eq!(
        strings("{{ with .Secrets.token }}{{ . | string }}{{ end }}"),
        names(&["token"])
    );
    assert_eq!(strings("{{ string .Previous.Secrets.token }}"), names(&[]));
    assert_eq!(
        strings("{{ string (index .Secrets (print \"tok\" \"en\")) }}"),
        names(&[])
    );
}
