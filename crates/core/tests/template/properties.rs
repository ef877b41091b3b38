//! Whatever the source is, compiling and rendering end, and what was promised about them holds.

use marblerun_core::template::{Place, compile, render};
use proptest::prelude::*;

use crate::fixture::Fixture;

/// Pieces that templates are made of, so that random ones come far into the language.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{-",
    "-}}",
    " ",
    "\n",
    "{{/* c */}}",
    "{{ ",
    " }}",
    "(",
    ")",
    "|",
    " | ",
    ".",
    "$",
    "$x",
    "$y",
    ":=",
    "=",
    ",",
    "if ",
    "else ",
    "else if ",
    "end",
    "range ",
    "with ",
    "define \"t\"",
    "template \"t\" ",
    "block \"b\" ",
    "break",
    "continue",
    "{{ end }}",
    "{{ else }}",
    "{{ if . }}",
    "{{ range .Secrets }}",
    "{{ range 3 }}",
    "{{ with $x := . }}",
    "{{ define \"t\" }}",
    "{{ template \"t\" . }}",
    "{{ $x := 1 }}",
    "{{ $x = .Secrets.key }}",
    "{{ $x }}",
    "{{ hex $x }}",
    "{{ hex . }}",
    "{{ . }}",
    "{{ range $k, $v := .Secrets }}",
    "{{ hex $v }}",
    "{{ $k }}",
    "{{ break }}",
    "{{ continue }}",
    ".Secrets",
    ".key",
    ".Secrets.key",
    ".Secrets.certRsa",
    ".Secrets.token",
    ".Private",
    ".Public",
    ".Cert",
    ".Type",
    ".Size",
    ".Previous",
    ".MarbleRun",
    ".RootCA",
    ".SealKey",
    "and ",
    "or ",
    "not ",
    "eq ",
    "ne ",
    "lt ",
    "le ",
    "gt ",
    "ge ",
    "len ",
    "index ",
    "slice ",
    "print ",
    "printf ",
    "println ",
    "html ",
    "js ",
    "urlquery ",
    "call ",
    "hex ",
    "base64 ",
    "pem ",
    "raw ",
    "string ",
    "nil ",
    "true ",
    "false ",
    "0 ",
    "1 ",
    "-2 ",
    "1.5 ",
    "0x1F ",
    "1e3 ",
    "'a' ",
    "\"a\" ",
    "`b` ",
    "\"%d %s\" ",
    "\"%[2]*.[1]*f%!\" ",
    "\"key\" ",
    "text",
    "é",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0..PIECES.len(), 0..40).prop_map(|indexes| {
        indexes
            .into_iter()
            .flat_map(|index| PIECES[index].bytes())
            .collect()
    })
}

/// Well-formed templates: statements nested in each other, over expressions of all kinds.
fn template() -> impl Strategy<Value = String> {
    let term = prop_oneof![
        Just(".".to_owned()),
        Just("$".to_owned()),
        Just("$x".to_owned()),
        Just(".Secrets.key".to_owned()),
        Just("$.Secrets.certRsa".to_owned()),
        Just("$.Secrets.unset.Private".to_owned()),
        Just("$.Secrets".to_owned()),
        Just("$.Previous.Secrets.key".to_owned()),
        Just("$.MarbleRun.SealKey".to_owned()),
        Just("\"key\"".to_owned()),
        Just("\"a\"".to_owned()),
        Just("nil".to_owned()),
        (-3..4_i64).prop_map(|number| number.to_string()),
        Just("1.5".to_owned()),
    ];
    let expression = term.prop_recursive(3, 12, 3, |inner| {
        let function = prop_oneof![
            Just("and"),
            Just("or"),
            Just("not"),
            Just("eq"),
            Just("lt"),
            Just("len"),
            Just("index"),
            Just("slice"),
            Just("print"),
            Just("printf \"%v %d\""),
            Just("html"),
            Just("hex"),
            Just("base64"),
            Just("pem"),
            Just("raw"),
        ];
        (function, proptest::collection::vec(inner, 1..3))
            .prop_map(|(function, arguments)| format!("({function} {})", arguments.join(" ")))
    });
    let statement = expression
        .clone()
        .prop_map(|expression| format!("{{{{ {expression} }}}}"));
    let body = statement.prop_recursive(4, 24, 3, move |inner| {
        let list = proptest::collection::vec(inner, 0..3).prop_map(|list| list.concat());
        prop_oneof![
            (expression.clone(), list.clone(), list.clone()).prop_map(|(test, yes, no)| format!(
                "{{{{ if {test} }}}}{yes}{{{{ else }}}}{no}{{{{ end }}}}"
            )),
            (expression.clone(), list.clone())
                .prop_map(|(test, yes)| format!("{{{{ with $x := {test} }}}}{yes}{{{{ end }}}}")),
            (expression.clone(), list.clone())
                .prop_map(|(all, each)| format!("{{{{ range {all} }}}}{each}{{{{ break }}}}{{{{ end }}}}")),
            (expression.clone(), list.clone())
                .prop_map(|(all, each)| format!("{{{{ range $k, $x := {all} }}}}{each}{{{{ end }}}}")),
            (expression.clone()).prop_map(|value| format!("{{{{ $x = {value} }}}}")),
            list,
        ]
    });
    body.prop_map(|body| format!("{{{{ $x := 1 }}}}{body}"))
}

/// Compiles and renders; what it needs must be enough, and no value may be seen without an encoding.
fn exercise(source: &[u8]) -> Result<(), TestCaseError> {
    let fixture = Fixture::load();
    for place in [Place::File, Place::Env] {
        let Ok(compiled) = compile(source, place, &fixture.specs) else {
            continue;
        };
        let all = render(&compiled.template, &fixture.data());
        let mut poor = Fixture::load();
        let references = compiled.template.references();
        poor.secrets.retain(|name, _| references.secrets.contains(name));
        poor.previous.retain(|name, _| references.previous.contains(name));
        if !references.seal_key {
            poor.seal_key = None;
        }
        let needed = render(&compiled.template, &poor.data());
        prop_assert_eq!(&all, &needed, "references are not enough");
        if let (Ok(output), Place::Env) = (&all, place) {
            prop_assert!(!output.contains(&0));
        }
        if let Err(error) = all {
            prop_assert!(
                !error.message.contains("without an encoding"),
                "not found by the check: {}",
                error
            );
            prop_assert!(
                !error.message.contains("cannot be printed"),
                "not found by the check: {}",
                error
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_end(source in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(&source)?;
    }

    #[test]
    fn arbitrary_pieces_end(source in pieces()) {
        exercise(&source)?;
    }

    #[test]
    fn arbitrary_templates_end(source in template()) {
        exercise(source.as_bytes())?;
    }

    #[test]
    fn text_without_actions_is_itself(source in "[^{]{0,100}") {
        let output = Fixture::load().run(Place::File, source.as_bytes());
        prop_assert_eq!(output, Ok(source.into_bytes()));
    }

    #[test]
    fn formats_end(format in "[%a-zA-Z0-9#+ .*\\[\\]-]{0,30}") {
        let source = format!("{{{{ printf \"{format}\" 1 \"a\" 1.5 true nil }}}}");
        exercise(source.as_bytes())?;
    }
}
