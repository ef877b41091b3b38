//! Commands that need no Coordinator, and how flags are read.

use crate::support::Home;

const JSON: &str = r#"{"Packages":{"p":{"UniqueID":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}},"Marbles":{"m":{"Package":"p"}}}"#;
/// `printf '%s' "$JSON" | sha256sum`
const JSON_SIGNATURE: &str = "e31a138c82cf7f46d780ebcb5cf187f5fa7f5baf5f204fa10814c59d8659096c";
const YAML: &str = "# comment\nPackages:\n  p: {UniqueID: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f}\nMarbles:\n  m:\n    Package: p\n    DisableSecretBinding: on\n";
/// Of `{"Marbles":{"m":{"DisableSecretBinding":true,"Package":"p"}},"Packages":{"p":{"UniqueID":"0001…1e1f"}}}`
const YAML_SIGNATURE: &str = "069e47d00d62c01ea1808bc98af409d6181ea85fd10ddfbd95eb7bb96ff2c1f4";

#[test]
fn signature_of_json_and_yaml() {
    let home = Home::new();
    home.write("manifest.json", JSON);
    home.write("manifest.yaml", YAML);
    for (file, signature) in [
        ("manifest.json", JSON_SIGNATURE),
        ("manifest.yaml", YAML_SIGNATURE),
    ] {
        let outcome = home.run(&["manifest", "signature", file]);
        assert_eq!(
            (outcome.code, outcome.stdout),
            (0, format!("{signature}\n")),
            "{}",
            outcome.stderr
        );
        let outcome = home.run(&["manifest", "signature", file, "--format", "json"]);
        let value: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(value, serde_json::json!({"manifestSignature": signature}));
    }
}

#[test]
fn unreadable_manifests_are_named() {
    let home = Home::new();
    home.write("twice.yaml", "a: 1\na: 2\n");
    for (file, part) in [
        ("missing.json", "cannot open missing.json: No such file"),
        ("twice.yaml", "line 2 column 4: key \"a\" is given twice"),
        (".", "cannot read ."),
    ] {
        let outcome = home.run(&["manifest", "signature", file]);
        assert_eq!(outcome.code, 1);
        assert!(
            outcome.stderr.starts_with("Error: ") && outcome.stderr.contains(part),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn check_says_everything_at_once() {
    let home = Home::new();
    home.write("good.yaml", YAML);
    let outcome = home.run(&["manifest", "check", "good.yaml"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "OK\n"),
        "{}",
        outcome.stderr
    );

    home.write(
        "bad.json",
        r#"{"Packages":{"p":{"UniqueID":"00"}},"Marbles":{"m":{"Package":"nope"},"n":{"Package":"p","TLS":["x"]}}}"#,
    );
    let outcome = home.run(&["manifest", "check", "bad.json"]);
    assert_eq!(outcome.code, 1);
    for part in ["Marbles.m.Package: ", "Marbles.n.TLS"] {
        assert!(outcome.stdout.contains(part), "{}", outcome.stdout);
    }
    assert_eq!(outcome.stderr, "Error: bad.json has 2 problems\n");
    let outcome = home.run(&["manifest", "check", "bad.json", "--format=json"]);
    let value: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (
            value["valid"].as_bool(),
            value["problems"].as_array().unwrap().len()
        ),
        (Some(false), 2)
    );
}

#[test]
fn check_strict_refuses_unknown_fields() {
    let home = Home::new();
    home.write(
        "unknown.json",
        JSON.replace("\"Package\":\"p\"", "\"Package\":\"p\",\"Colour\":\"red\""),
    );
    for (arguments, code) in [
        (&["manifest", "check", "unknown.json"][..], 0),
        (&["manifest", "check", "--strict=false", "unknown.json"], 0),
        (&["manifest", "check", "--strict", "unknown.json"], 1),
        (&["manifest", "check", "unknown.json", "--strict=true"], 1),
    ] {
        let outcome = home.run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?} {}", outcome.stderr);
        assert!(
            outcome.stdout.contains("Marbles.m.Colour: "),
            "{}",
            outcome.stdout
        );
        assert_eq!(
            outcome.stdout.contains("warning: "),
            code == 0,
            "{}",
            outcome.stdout
        );
    }
}

/// The claims in it are placeholders of the right form: it is to be copied.
#[test]
fn check_strict_accepts_the_example_for_all_tees() {
    let home = Home::new();
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/attestation/manifest.json"
    );
    let outcome = home.run(&["manifest", "check", "--strict", example]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "OK\n"));
    let mistaken = std::fs::read_to_string(example)
        .unwrap()
        .replace("\"RTMR0\"", "\"RTMR5\"");
    home.write("mistaken.json", mistaken);
    let outcome = home.run(&["manifest", "check", "mistaken.json"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stdout
            .starts_with("Packages.backend.TDX.RTMR5: unknown field; there are MRTD"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn version_and_completion() {
    let home = Home::new();
    let outcome = home.run(&["version"]);
    assert_eq!(outcome.code, 0);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[0].starts_with("CLI Version: v") && lines[1].starts_with("Commit: "),
        "{lines:?}"
    );
    assert_eq!(lines[2], "Unable to find MarbleRun Coordinator");
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef marblerun"),
        ("fish", "complete -c marblerun"),
    ] {
        let outcome = home.run(&["completion", shell]);
        assert_eq!(outcome.code, 0);
        assert!(
            outcome.stdout.contains(part) && outcome.stdout.contains("certificate"),
            "{shell}"
        );
    }
    assert_eq!(home.run(&["completion", "powershell"]).code, 1);
}

#[test]
fn flags_are_read_as_before() {
    let home = Home::new();
    home.write("m.json", JSON);
    home.write("-m.json", JSON);
    let signature = &["manifest", "signature", "m.json"][..];
    for (arguments, code) in [
        // Before, between and behind the words; long, short; with and without a value.
        (vec!["--insecure", "version"], 0),
        (vec!["version", "--insecure"], 0),
        (vec!["version", "-i"], 0),
        (vec!["version", "-i=true"], 0),
        (vec!["version", "--insecure=false"], 0),
        (vec!["version", "--insecure=F"], 0),
        (vec!["version", "--insecure=maybe"], 1),
        // A switch takes no value after a blank: it would be an argument.
        (vec!["version", "--insecure", "false"], 1),
        // Twice is no error.
        (vec!["version", "--insecure", "--insecure"], 0),
        (vec!["-i", "version", "-i", "--insecure=false"], 0),
        (vec!["version", "--nonce", "a", "--nonce=b"], 0),
        (vec!["version", "--format", "json", "--format=table"], 0),
        (
            vec![
                "version",
                "--accepted-tcb-statuses",
                "a,b",
                "--accepted-tcb-statuses=c",
            ],
            0,
        ),
        // Values in all forms, also such that look like flags.
        (vec!["version", "-n", "ns"], 0),
        (vec!["version", "-nns"], 0),
        (vec!["version", "-n=ns"], 0),
        (vec!["version", "-in", "ns"], 0),
        (vec!["version", "--namespace", "-x"], 0),
        (vec!["version", "--nonce", "--insecure"], 0),
        (vec!["version", "--nonce"], 1),
        (
            vec![
                "version",
                "--coordinator-cert=x",
                "--era-config",
                "y",
                "--save-sgx-quote",
                "z",
            ],
            0,
        ),
        // What is unknown or missing.
        (vec!["version", "--unknown"], 1),
        (vec!["version", "-q"], 1),
        (vec!["version", "extra"], 1),
        (vec!["--format", "xml", "version"], 1),
        (vec!["frobnicate"], 1),
        (vec!["manifest", "frobnicate"], 1),
        (vec!["manifest", "signature"], 1),
        (vec!["manifest", "set", "m.json"], 1),
        (vec!["manifest", "-i"], 1),
        (vec!["certificate", "leaf", "localhost:1"], 1),
        (vec!["manifest", "update", "frobnicate"], 1),
        (vec!["manifest", "update", "apply", "m.json"], 1),
        (vec!["manifest", "update", "cancel"], 1),
        (vec!["manifest", "update", "get", "localhost:1", "--cert=x"], 1),
        (vec!["secret", "get"], 1),
        (vec!["secret", "set", "m.json"], 1),
        // Help is no error.
        (vec![], 0),
        (vec!["--help"], 0),
        (vec!["-h"], 0),
        (vec!["help", "manifest"], 0),
        (vec!["manifest"], 0),
        (vec!["certificate"], 0),
        (vec!["manifest", "update"], 0),
        (vec!["secret"], 0),
        (vec!["secret", "get", "--help"], 0),
        (vec!["manifest", "set", "--help"], 0),
        (vec!["manifest", "signature", "--", "-m.json"], 0),
        (["-i"].iter().chain(signature).copied().collect(), 0),
    ] {
        let outcome = home.run(&arguments);
        assert_eq!(
            outcome.code, code,
            "{arguments:?}\n{}\n{}",
            outcome.stdout, outcome.stderr
        );
        assert_eq!(
            outcome.stderr.starts_with("Error: "),
            code == 1,
            "{arguments:?}\n{}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout.is_empty(), code == 1, "{arguments:?}");
    }
    let outcome = home.run(&["version", "--format", "table", "--format=json"]);
    assert!(
        outcome.stdout.starts_with('{'),
        "the last one wins: {}",
        outcome.stdout
    );
}

#[test]
fn what_is_missing_is_named_before_anything_is_sent() {
    let home = Home::new();
    home.write("manifest.json", JSON);
    // Nothing listens on port 1: the refusal must come first.
    for (arguments, part) in [
        (
            &["status", "localhost:1"][..],
            "no Coordinator is pinned: there is no file",
        ),
        (
            &["manifest", "log", "localhost:1"],
            "no Coordinator is pinned: there is no file",
        ),
        (
            &["manifest", "get", "localhost:1"],
            "there is no era-config.json in the working directory",
        ),
        (
            &["certificate", "root", "localhost:1"],
            "there is no era-config.json in the working directory",
        ),
        (
            &["manifest", "set", "manifest.json", "localhost:1"],
            "there is no era-config.json",
        ),
        (
            &[
                "manifest",
                "set",
                "manifest.json",
                "localhost:1",
                "-i",
                "-r",
                "no/where",
            ],
            "cannot write no/where",
        ),
        (
            &["manifest", "set", "missing.json", "localhost:1"],
            "cannot open missing.json",
        ),
        (
            &["manifest", "verify", "0011", "localhost:1"],
            "neither an existing file nor a manifest signature",
        ),
        (&["manifest", "verify", "manifest.json", "localhost"], "host:port"),
        (
            &["manifest", "get", "localhost:1", "--era-config", "e.json"],
            "cannot open e.json",
        ),
    ] {
        let outcome = home.run(arguments);
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.contains(part), "{arguments:?}: {}", outcome.stderr);
    }
    home.write("era-config.json", r#"{"SignerID":"00"}"#);
    let outcome = home.run(&["manifest", "get", "localhost:1"]);
    assert!(
        outcome
            .stderr
            .contains("era-config.json is unusable: SignerID must be 64 hex digits"),
        "{}",
        outcome.stderr
    );
    home.write("pin.pem", "no PEM");
    let outcome = home.run(&["status", "localhost:1", "--coordinator-cert", "pin.pem"]);
    assert!(
        outcome
            .stderr
            .contains("pin.pem is unusable: expected two PEM blocks"),
        "{}",
        outcome.stderr
    );
    let outcome = home.run_with(&["status", "localhost:1"], &[("HOME", "")]);
    assert!(
        outcome.stderr.contains("neither XDG_CONFIG_HOME nor HOME is set"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_schema_is_printed_whole() {
    let outcome = Home::new().run(&["manifest", "schema"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let schema: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["Marbles"].is_object());
}
