//! One thing wrong at a time: the document, packages, marbles and what they are given, names.

use serde_json::{Value, json};

use super::support::{ID, assert_each_refused, assert_refused, patched, refuse, set, small};

#[test]
fn the_document_itself() {
    for (document, word) in [
        (json!(null), "expected an object, found null"),
        (json!([]), "expected an object, found a list"),
        (json!("manifest"), "found a string"),
        (json!(7), "found the number 7"),
    ] {
        assert_refused(&document, "manifest", word);
    }
    let problems = refuse(&json!({}));
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["Packages", "Marbles"], "at least one of each");
    assert_each_refused(vec![
        ("/Marbles", json!({}), "Marbles", "at least one"),
        ("/Marbles", json!(null), "Marbles", "at least one"),
        ("/Marbles", json!({"marble": null}), "Marbles", "at least one"),
        (
            "/Marbles",
            json!([]),
            "Marbles",
            "expected an object, found a list",
        ),
        (
            "/Infrastructures",
            json!([1]),
            "Infrastructures",
            "expected an object",
        ),
        ("/Users/bob", json!("x"), "Users.bob", "expected an object"),
        ("/TLS/x", json!(true), "TLS.x", "expected an object, found true"),
        ("/Config", json!("x"), "Config", "expected an object"),
    ]);
    let mut without_packages = small();
    set(&mut without_packages, "/Packages", json!({}));
    let problems = refuse(&without_packages);
    assert_eq!(problems[0].path, "Packages");
    assert_eq!(problems[1].path, "Marbles.marble.Package");
}

#[test]
fn packages() {
    let signer = |product: Value, version: Value| json!({"SignerID": ID, "ProductID": product, "SecurityVersion": version});
    let p = "/Packages/package";
    assert_each_refused(vec![
        (p, json!({}), "Packages.package", "neither UniqueID"),
        (
            p,
            signer(json!(65_536), json!(1)),
            "Packages.package.ProductID",
            "no enclave has 65536",
        ),
        (
            p,
            signer(json!(1), json!(u64::MAX)),
            "Packages.package.SecurityVersion",
            "65535 at most",
        ),
        (
            p,
            signer(json!(1.0), json!(1)),
            "Packages.package.ProductID",
            "without decimal point and exponent, found",
        ),
        (p, json!({"UniqueID": ""}), "Packages.package", "neither UniqueID"),
        (
            p,
            json!({"UniqueID": ID, "SignerID": ID}),
            "Packages.package.UniqueID",
            "together with",
        ),
        (
            p,
            json!({"UniqueID": ID, "ProductID": 0}),
            "Packages.package.UniqueID",
            "together with",
        ),
        (
            p,
            json!({"UniqueID": ID, "SecurityVersion": 0}),
            "Packages.package.UniqueID",
            "together with",
        ),
        (
            p,
            signer(json!(1), json!(null)),
            "Packages.package.SecurityVersion",
            "missing",
        ),
        (
            p,
            signer(json!(null), json!(1)),
            "Packages.package.ProductID",
            "missing",
        ),
        (
            p,
            json!({"ProductID": 1, "SecurityVersion": 1}),
            "Packages.package.SignerID",
            "missing",
        ),
        (
            p,
            signer(json!(-1), json!(1)),
            "Packages.package.ProductID",
            "found the number -1",
        ),
        (
            p,
            signer(json!(1.5), json!(1)),
            "Packages.package.ProductID",
            "found the number 1.5",
        ),
        (
            p,
            signer(json!("1"), json!(1)),
            "Packages.package.ProductID",
            "found a string",
        ),
        (
            p,
            signer(json!(1), json!(1e30)),
            "Packages.package.SecurityVersion",
            "whole number",
        ),
        (
            p,
            json!({"UniqueID": 7}),
            "Packages.package.UniqueID",
            "expected a string, found the number 7",
        ),
        (
            p,
            json!({"UniqueID": ID, "Debug": "true"}),
            "Packages.package.Debug",
            "true or false",
        ),
        (
            p,
            json!({"UniqueID": ID, "Debug": 1}),
            "Packages.package.Debug",
            "true or false",
        ),
        (
            p,
            json!({"UniqueID": ID, "AcceptedTCBStatuses": "UpToDate"}),
            "Packages.package.AcceptedTCBStatuses",
            "a list",
        ),
        (
            p,
            json!({"UniqueID": ID, "AcceptedTCBStatuses": ["UpToDate", "SwHardeningNeeded"]}),
            "Packages.package.AcceptedTCBStatuses[1]",
            "no platform has this status",
        ),
        (
            p,
            json!({"UniqueID": ID, "AcceptedTCBStatuses": [1]}),
            "Packages.package.AcceptedTCBStatuses[0]",
            "a string",
        ),
        (
            p,
            json!({"UniqueID": ID, "AcceptedAdvisories": ["a", null]}),
            "Packages.package.AcceptedAdvisories[1]",
            "found null",
        ),
        (
            p,
            json!({"UniqueID": ID, "TDX": "x"}),
            "Packages.package.TDX",
            "an object",
        ),
        (
            p,
            json!({"UniqueID": ID, "SNP": [1]}),
            "Packages.package.SNP",
            "an object",
        ),
        (
            p,
            json!({"SNP": {"Measurement": "00".repeat(48)}, "SignerID": ID, "ProductID": 1}),
            "Packages.package.SecurityVersion",
            "missing",
        ),
        (
            p,
            json!([]),
            "Packages.package",
            "expected an object, found a list",
        ),
        (
            "/Packages/unused",
            json!("x"),
            "Packages.unused",
            "expected an object, found a string",
        ),
        (
            "/Packages/unused",
            json!({"Debug": 0}),
            "Packages.unused.Debug",
            "true or false",
        ),
    ]);
    let two = refuse(&patched(p, json!({"SignerID": ID})));
    assert_eq!(two[0].path, "Packages.package.ProductID");
    assert_eq!(two[1].path, "Packages.package.SecurityVersion");
}

#[test]
fn infrastructures() {
    let p = "/Infrastructures/here";
    assert_each_refused(vec![
        (
            p,
            json!({"CPUSVN": [1, 2]}),
            "Infrastructures.here.CPUSVN",
            "16 bytes, found 2",
        ),
        (
            p,
            json!({"CPUSVN": "AAEC"}),
            "Infrastructures.here.CPUSVN",
            "16 bytes, found 3",
        ),
        (p, json!({"CPUSVN": "?"}), "Infrastructures.here.CPUSVN", "base64"),
        (
            p,
            json!({"RootCA": "AAE"}),
            "Infrastructures.here.RootCA",
            "base64",
        ),
        (
            p,
            json!({"RootCA": [3, 256]}),
            "Infrastructures.here.RootCA[1]",
            "0 to 255",
        ),
        (
            p,
            json!({"RootCA": [3, -1]}),
            "Infrastructures.here.RootCA[1]",
            "0 to 255",
        ),
        (
            p,
            json!({"RootCA": [3, null]}),
            "Infrastructures.here.RootCA[1]",
            "found null",
        ),
        (
            p,
            json!({"RootCA": {"a": 1}}),
            "Infrastructures.here.RootCA",
            "found an object",
        ),
        (
            p,
            json!({"QESVN": 65536}),
            "Infrastructures.here.QESVN",
            "0 to 65535",
        ),
        (
            p,
            json!({"PCESVN": "1"}),
            "Infrastructures.here.PCESVN",
            "found a string",
        ),
        (p, json!(1), "Infrastructures.here", "expected an object"),
        (
            p,
            json!({"RootCA": [3], "CPUSVM": [1]}),
            "Infrastructures.here.CPUSVM",
            "unknown field; is CPUSVN meant?",
        ),
        (
            p,
            json!({"RootCA": [3], "pcesv": 9}),
            "Infrastructures.here.pcesv",
            "unknown field; is PCESVN meant?",
        ),
        (
            p,
            json!({"Platform": "x"}),
            "Infrastructures.here",
            "none of its properties is known",
        ),
        (
            p,
            json!({"Platform": "x", "QESVN": 0}),
            "Infrastructures.here",
            "none of its properties is known",
        ),
    ]);
}

#[test]
fn reference_values_whose_names_are_misspelt() {
    let p = "/Packages/package";
    assert_each_refused(vec![
        (
            p,
            json!({"UniqueID": ID, "AcceptedAdvisorys": ["INTEL-SA-00334"]}),
            "Packages.package.AcceptedAdvisorys",
            "unknown field; is AcceptedAdvisories meant?",
        ),
        (
            p,
            json!({"UniqueID": ID, "acceptedTcbStatus": ["UpToDate"]}),
            "Packages.package.acceptedTcbStatus",
            "unknown field; is AcceptedTCBStatuses meant?",
        ),
        (
            p,
            json!({"UniqeID": ID}),
            "Packages.package.UniqeID",
            "unknown field; is UniqueID meant?",
        ),
        (
            p,
            json!({"UniqueID": ID, "TDY": {}}),
            "Packages.package.TDY",
            "unknown field; is TDX meant?",
        ),
    ]);
    let with = |name: &str| json!({"UniqueID": ID, name: "00"});
    assert_each_refused(vec![
        (p, with("MRTD"), "Packages.package.MRTD", "is TDX.MRTD meant?"),
        (
            p,
            with("hostdata"),
            "Packages.package.hostdata",
            "is SNP.HostData meant?",
        ),
        (
            p,
            with("Product"),
            "Packages.package.Product",
            "is SNP.Product meant?",
        ),
        (
            "/Infrastructure",
            json!({"a": {"QESVN": 1}}),
            "Infrastructure",
            "is Infrastructures meant?",
        ),
        (
            "/infrastructrues",
            json!({"a": {"QESVN": 1}}),
            "infrastructrues",
            "is Infrastructures meant?",
        ),
    ]);
    // The one mistake is one problem: what is missing for it is not a second.
    assert_eq!(refuse(&patched(p, json!({"UniqeID": ID}))).len(), 1);
    let entry = patched("/Infrastructures/here", json!({"CPUSVM": [1]}));
    assert_eq!(refuse(&entry).len(), 1);
}

#[test]
fn marbles() {
    assert_each_refused(vec![
        (
            "/Marbles/marble/Package",
            json!("nope"),
            "Marbles.marble.Package",
            "no `nope` in Packages",
        ),
        (
            "/Marbles/marble/Package",
            json!("Package"),
            "Marbles.marble.Package",
            "no `Package`",
        ),
        (
            "/Marbles/marble/Package",
            json!(""),
            "Marbles.marble.Package",
            "missing",
        ),
        (
            "/Marbles/marble/Package",
            json!(1),
            "Marbles.marble.Package",
            "expected a string",
        ),
        (
            "/Marbles/marble/MaxActivations",
            json!(-1),
            "Marbles.marble.MaxActivations",
            "found the number -1",
        ),
        (
            "/Marbles/marble/MaxActivations",
            json!("2"),
            "Marbles.marble.MaxActivations",
            "a whole number",
        ),
        (
            "/Marbles/marble/Roles",
            json!(["reader", "nope"]),
            "Marbles.marble.Roles[1]",
            "no `nope` in Roles",
        ),
        (
            "/Marbles/marble/Roles",
            json!("reader"),
            "Marbles.marble.Roles",
            "a list",
        ),
        (
            "/Marbles/marble/TLS",
            json!(["nope"]),
            "Marbles.marble.TLS[0]",
            "no `nope` in TLS",
        ),
        (
            "/Marbles/marble/TLS",
            json!([null]),
            "Marbles.marble.TLS[0]",
            "expected a string, found null",
        ),
        (
            "/Marbles/marble/DisableSecretBinding",
            json!("no"),
            "Marbles.marble.DisableSecretBinding",
            "true or false",
        ),
        (
            "/Marbles/marble/Parameters",
            json!([]),
            "Marbles.marble.Parameters",
            "expected an object",
        ),
        (
            "/Marbles/marble/Parameters/Files",
            json!([]),
            "Marbles.marble.Parameters.Files",
            "expected an object",
        ),
        (
            "/Marbles/marble/Parameters/Env",
            json!("A=1"),
            "Marbles.marble.Parameters.Env",
            "expected an object",
        ),
        (
            "/Marbles/marble/Parameters/Argv",
            json!("./marble"),
            "Marbles.marble.Parameters.Argv",
            "a list",
        ),
        (
            "/Marbles/marble/Parameters/Argv",
            json!(["a", 1]),
            "Marbles.marble.Parameters.Argv[1]",
            "found the number 1",
        ),
        ("/Marbles/x", json!({}), "Marbles.x.Package", "missing"),
        (
            "/Marbles/x",
            json!(0),
            "Marbles.x",
            "expected an object, found the number 0",
        ),
    ]);
}

#[test]
fn contents() {
    const FILE: &str = "/Marbles/marble/Parameters/Files/~1file";
    const KEY: &str = "/Marbles/marble/Parameters/Env/KEY";
    let data = |data: &str, encoding: &str| json!({"Data": data, "Encoding": encoding});
    assert_each_refused(vec![
        (
            FILE,
            json!(1),
            "Marbles.marble.Parameters.Files./file",
            "a string or an object",
        ),
        (
            FILE,
            json!(["a"]),
            "Marbles.marble.Parameters.Files./file",
            "found a list",
        ),
        (
            FILE,
            json!(true),
            "Marbles.marble.Parameters.Files./file",
            "found true",
        ),
        (
            FILE,
            json!({"Data": 1}),
            "Marbles.marble.Parameters.Files./file.Data",
            "a string",
        ),
        (
            FILE,
            json!({"Data": "x", "NoTemplates": 1}),
            "Marbles.marble.Parameters.Files./file.NoTemplates",
            "true or false",
        ),
        (
            FILE,
            data("x", "utf8"),
            "Marbles.marble.Parameters.Files./file.Encoding",
            "string, base64 or hex",
        ),
        (
            FILE,
            data("AAE", "base64"),
            "Marbles.marble.Parameters.Files./file.Data",
            "base64 with padding",
        ),
        (
            FILE,
            data("abc", "hex"),
            "Marbles.marble.Parameters.Files./file.Data",
            "hexadecimal",
        ),
        (
            FILE,
            data("zz", "HEX"),
            "Marbles.marble.Parameters.Files./file.Data",
            "hexadecimal",
        ),
        (
            FILE,
            json!({"Encoding": 1}),
            "Marbles.marble.Parameters.Files./file.Encoding",
            "a string",
        ),
        (KEY, json!("a\0b"), "Marbles.marble.Parameters.Env.KEY", "NUL"),
        (
            KEY,
            data("6100", "hex"),
            "Marbles.marble.Parameters.Env.KEY",
            "NUL",
        ),
        (
            KEY,
            data("AA==", "base64"),
            "Marbles.marble.Parameters.Env.KEY",
            "NUL",
        ),
        (
            KEY,
            json!("{{ 1 }}\0"),
            "Marbles.marble.Parameters.Env.KEY",
            "NUL",
        ),
        (
            KEY,
            json!({"Data": "\0", "NoTemplates": true}),
            "Marbles.marble.Parameters.Env.KEY",
            "NUL",
        ),
        (
            KEY,
            json!(1.5),
            "Marbles.marble.Parameters.Env.KEY",
            "found the number 1.5",
        ),
    ]);
}

#[test]
fn templates() {
    const FILE: &str = "/Marbles/marble/Parameters/Files/~1file";
    const KEY: &str = "/Marbles/marble/Parameters/Env/KEY";
    let (file, key) = (
        "Marbles.marble.Parameters.Files./file",
        "Marbles.marble.Parameters.Env.KEY",
    );
    assert_each_refused(vec![
        (FILE, json!("{{ hex .Secrets.nope }}"), file, "nope"),
        (FILE, json!("a\nb {{ nope 1 }}"), file, "line 2"),
        (FILE, json!("{{ if }}"), file, "line 1"),
        (KEY, json!("{{ raw .Secrets.shared }}"), key, "raw"),
        (
            KEY,
            json!({"Data": "7b7b20726177202e536563726574732e736861726564207d7d", "Encoding": "hex"}),
            key,
            "raw",
        ),
        (KEY, json!("{{ string .Secrets.shared }}"), key, "string"),
    ]);
    // The same text in two places is two problems.
    let mut manifest = patched(FILE, json!("{{ hex .Secrets.nope }}"));
    set(
        &mut manifest,
        "/Marbles/marble/Parameters/Files/second",
        json!("{{ hex .Secrets.nope }}"),
    );
    let paths: Vec<_> = refuse(&manifest)
        .into_iter()
        .map(|problem| problem.path)
        .collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(
        paths.contains(&"Marbles.marble.Parameters.Files.second".to_owned()),
        "{paths:?}"
    );
}

#[test]
fn names() {
    let long = "n".repeat(254);
    let cases = [
        ("", "1 to 253 bytes, found 0"),
        (long.as_str(), "found 254"),
        ("a\0b", "control"),
        ("a\nb", "control"),
    ];
    for (name, word) in cases {
        for section in [
            "Packages",
            "Infrastructures",
            "Marbles",
            "Secrets",
            "Users",
            "Roles",
            "RecoveryKeys",
            "TLS",
        ] {
            let mut manifest = small();
            manifest[section][name] = json!({});
            let problems = refuse(&manifest);
            let [problem] = problems.as_slice() else {
                panic!("{section}: {problems:?}")
            };
            assert!(
                problem.path.starts_with(section) && problem.message.contains(word),
                "{problem}"
            );
            assert!(!problem.path.contains(char::is_control), "{problem}");
        }
        let mut manifest = small();
        manifest["Marbles"]["marble"]["Parameters"]["Env"][name] = json!("x");
        assert!(refuse(&manifest)[0].message.contains(word));
    }
    let mut manifest = small();
    manifest["Marbles"]["marble"]["Parameters"]["Files"]["/".repeat(4097)] = json!("x");
    assert!(
        refuse(&manifest)[0]
            .message
            .contains("1 to 4096 bytes, found 4097")
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let mut manifest = small();
    for (pointer, value) in [
        ("/Packages/package", json!({"UniqueID": ID, "SignerID": ID})),
        ("/Infrastructures/here/QESVN", json!(-1)),
        ("/Marbles/marble/TLS", json!(["nope", "tag"])),
        ("/Marbles/marble/Parameters/Env/KEY", json!(1)),
        ("/Secrets/shared/Size", json!(1)),
        ("/Secrets/new", json!({"Type": "x"})),
        ("/Users/alice/Roles", json!(["nope"])),
        ("/RecoveryKeys/one", json!("x")),
        ("/TLS/x", json!({"Incoming": [{}]})),
        ("/Config", json!({"SealMode": "x", "RecoveryThreshold": 1})),
    ] {
        set(&mut manifest, pointer, value);
    }
    let mut paths: Vec<_> = refuse(&manifest)
        .into_iter()
        .map(|problem| problem.path)
        .collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "Config.RecoveryThreshold",
            "Config.SealMode",
            "Infrastructures.here.QESVN",
            "Marbles.marble.Parameters.Env.KEY",
            "Marbles.marble.TLS[0]",
            "Packages.package.UniqueID",
            "RecoveryKeys.one",
            "Secrets.new.Type",
            "Secrets.shared.Size",
            "TLS.x.Incoming[0].Port",
            "Users.alice.Roles[0]",
        ]
    );
}

#[test]
fn environment_variables_have_names_that_an_environment_can_hold() {
    for (name, word) in [
        ("A=B", "without ="),
        ("=", "without ="),
        ("", "1 to 253 bytes, found 0"),
        ("A\0", "NUL"),
    ] {
        let mut manifest = small();
        set(
            &mut manifest,
            "/Marbles/marble/Parameters/Env",
            json!({name: "x"}),
        );
        let problems = refuse(&manifest);
        assert_eq!(problems.len(), 1, "{name:?}");
        let problem = &problems[0];
        assert!(
            problem.path.starts_with("Marbles.marble.Parameters.Env"),
            "{}",
            problem.path
        );
        assert!(problem.to_string().contains(word), "{problem}");
    }
    // A file may have such a name, and an environment the strangest others.
    let mut manifest = small();
    set(
        &mut manifest,
        "/Marbles/marble/Parameters/Files",
        json!({"/a=b": "x"}),
    );
    set(
        &mut manifest,
        "/Marbles/marble/Parameters/Env",
        json!({"a b-\u{e9}": "x"}),
    );
    super::support::accept_silently(&manifest);
}
