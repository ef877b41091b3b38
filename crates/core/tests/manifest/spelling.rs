//! Forms of JSON: spellings, repeated fields, zero values, bytes.

use marblerun_core::manifest::{Content, WarningKind};
use serde_json::json;

use super::support::{
    ID, USER_P256, accept_silently, assert_refused, check_bytes, patched, problems_of, small,
};

const MINIMAL: &str = r#"{"Packages":{"p":{"UniqueID":"$ID"}},"Marbles":{"m":{"Package":"p"$MARBLE}}$REST}"#;

fn minimal(marble: &str, rest: &str) -> Vec<u8> {
    MINIMAL
        .replace("$ID", ID)
        .replace("$MARBLE", marble)
        .replace("$REST", rest)
        .into_bytes()
}

#[test]
fn field_names_ignore_case_and_chosen_names_do_not() {
    let raw = format!(
        r#"{{"pAckages":{{"p":{{"uniqueid":"{ID}"}},"P":{{"UNIQUEID":"{ID}"}}}},
            "MARBLES":{{"m":{{"package":"p","maxactivations":3,"PARAMETERS":{{"env":{{"a":"1","A":"2"}},"ARGV":["x"]}},"tls":["t"]}},
                        "M":{{"Package":"P"}}}},
            "secrets":{{"s":{{"type":"cert-ed25519","cert":{{"dnsnames":["x"],"subject":{{"commonname":"y"}}}}}}}},
            "tLS":{{"t":{{"incoming":[{{"port":"1"}}]}}}},
            "config":{{"sealmode":"UniqueKey"}}}}"#
    );
    let checked = check_bytes(raw.as_bytes())
        .map_err(|error| error.to_string())
        .unwrap();
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    let manifest = checked.manifest;
    assert_eq!(manifest.marbles["m"].max_activations, 3);
    assert_eq!(
        (
            manifest.marbles["m"].env.len(),
            manifest.marbles.len(),
            manifest.packages.len()
        ),
        (2, 2, 2)
    );
    assert!(matches!(&manifest.marbles["m"].env["A"], Content::Verbatim(value) if value.as_ref() == b"2"));
}

#[test]
fn what_is_said_twice_is_refused() {
    for (raw, path) in [
        (minimal(r#","Package":"p""#, ""), "Marbles.m.Package"),
        (minimal(r#","package":"p""#, ""), "Marbles.m.Package"),
        (minimal(r#","package":null"#, ""), "Marbles.m.Package"),
        (minimal("", r#","Config":{},"config":{}"#), "Config"),
        (minimal("", r#","Packages":{}"#), "Packages"),
        (
            minimal(r#","Parameters":{"Env":{"A":"1","A":"1"}}"#, ""),
            "Marbles.m.Parameters.Env.A",
        ),
        (
            minimal(r#","Parameters":{"Env":{"A":null,"B":"","A":"1","A":"2"}}"#, ""),
            "Marbles.m.Parameters.Env.A",
        ),
        (
            minimal(r#","Parameters":{"Files":{"A":{"Data":"1","DATA":"2"}}}"#, ""),
            "Marbles.m.Parameters.Files.A.Data",
        ),
        (
            minimal(
                "",
                r#","Secrets":{"s":{"Type":"cert-ed25519","Cert":{"Subject":{"CommonName":"a","commonName":"b"}}}}"#,
            ),
            "Secrets.s.Cert.Subject.CommonName",
        ),
        (
            minimal(
                "",
                r#","Secrets":{"s":{"Type":"cert-ed25519"},"s":{"Type":"cert-ed25519"}}"#,
            ),
            "Secrets.s",
        ),
        (minimal("", r#","TLS":{"\u0061":{},"a":{}}"#), "TLS.a"),
    ] {
        let problems = problems_of(check_bytes(&raw));
        let [problem] = problems.as_slice() else {
            panic!("{path}: {problems:?}")
        };
        assert_eq!(problem.path, path);
        assert!(problem.message.contains("more than once"), "{problem}");
    }
}

#[test]
fn zero_values_of_go_clients_are_not_given() {
    let raw = minimal(
        r#","MaxActivations":0,"Parameters":{"Files":null,"Env":{},"Argv":null},"TLS":null,"Roles":[],"DisableSecretBinding":false"#,
        &format!(
            r#","Infrastructures":null,"Users":{{"u":{{"Certificate":{},"Roles":null}}}},"Roles":{{}},"RecoveryKeys":null,"TLS":null,
              "Secrets":{{
                "k":{{"Type":"symmetric-key","Size":128,"Shared":false,"UserDefined":false,"Cert":null,"ValidFor":0,"Private":null,"Public":null}},
                "c":{{"Type":"cert-ecdsa","Size":256,"Cert":{{}},"Private":"","Public":[]}}}},
              "Config":{{"SealMode":"","UpdateThreshold":0,"RecoveryThreshold":0,"FeatureGates":null,"RotateRootSecret":false}}"#,
            json!(USER_P256)
        ),
    );
    let raw = String::from_utf8(raw).unwrap().replace(
        &format!(r#""UniqueID":"{ID}""#),
        &format!(r#""UniqueID":"{ID}","SignerID":"","ProductID":null,"SecurityVersion":null,"Debug":false,"AcceptedTCBStatuses":null,"AcceptedAdvisories":[],"TDX":null,"SNP":{{}}"#),
    );
    let checked = check_bytes(raw.as_bytes())
        .map_err(|error| error.to_string())
        .unwrap();
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    let manifest = checked.manifest;
    assert_eq!(
        (
            manifest.users.len(),
            manifest.secrets.len(),
            manifest.infrastructures.len()
        ),
        (1, 2, 0)
    );
    // A minimum of zero is one: these are values.
    let zeros = json!({"SignerID": ID, "ProductID": 0, "SecurityVersion": 0});
    let sgx = accept_silently(&patched("/Packages/package", zeros)).packages["package"]
        .sgx
        .clone()
        .unwrap();
    assert_eq!((sgx.product_id, sgx.security_version), (Some(0), Some(0)));
    // An empty content is a content.
    let empty = accept_silently(&patched("/Marbles/marble/Parameters/Env/KEY", json!("")));
    assert!(matches!(&empty.marbles["marble"].env["KEY"], Content::Verbatim(value) if value.is_empty()));
    let absent = accept_silently(&patched("/Marbles/marble/Parameters/Env/KEY", json!(null)));
    assert!(absent.marbles["marble"].env.is_empty());
}

#[test]
fn bytes_are_base64_or_numbers() {
    let root = |value| {
        accept_silently(&patched("/Infrastructures/here/RootCA", value)).infrastructures["here"]
            .root_ca
            .clone()
    };
    for form in [
        json!("AAECAw=="),
        json!("AAEC\r\nAw==\n"),
        json!("AAECAx=="),
        json!([0, 1, 2, 3]),
    ] {
        assert_eq!(root(form.clone()).as_deref(), Some(&[0, 1, 2, 3][..]), "{form}");
    }
    for nothing in [json!(""), json!([]), json!(null)] {
        assert_eq!(root(nothing), None);
    }
    let whole = json!({"CPUSVN": (0..16).collect::<Vec<u8>>(), "PCESVN": 65535});
    let read = accept_silently(&patched("/Infrastructures/here", whole));
    let here = &read.infrastructures["here"];
    assert_eq!(
        (here.cpu_svn.as_ref().map(Vec::len), here.pce_svn),
        (Some(16), Some(65535))
    );
}

#[test]
fn contents_in_every_encoding() {
    let content = |value| {
        let manifest = accept_silently(&patched("/Marbles/marble/Parameters/Files/~1file", value));
        match &manifest.marbles["marble"].files["/file"] {
            Content::Verbatim(bytes) => Some(bytes.to_vec()),
            Content::Template(_) => None,
        }
    };
    for (value, expected) in [
        (json!({"Data": "a\u{e9}"}), "a\u{e9}".as_bytes()),
        (json!({"data": "a", "encoding": "String"}), b"a"),
        (json!({"Data": "AAE=", "Encoding": "BASE64"}), &[0, 1]),
        (json!({"Data": "00fF", "Encoding": "Hex"}), &[0, 255]),
        (json!({"Data": "{{", "NoTemplates": true}), b"{{"),
        (json!({"Encoding": "hex", "NoTemplates": false}), b""),
        (json!({}), b""),
        (json!("{ { }}"), b"{ { }}"),
    ] {
        assert_eq!(content(value.clone()).as_deref(), Some(expected), "{value}");
    }
    assert_eq!(content(json!("{{ hex .Secrets.shared }}")), None);
    assert_eq!(
        content(json!({"Data": "e3sgaGV4IC5TZWNyZXRzLnNoYXJlZCB9fQ==", "Encoding": "base64"})),
        None
    );
}

#[test]
fn templates_tell_what_they_refer_to() {
    let text = "{{ hex .Secrets.private }} {{ hex .Previous.Secrets.shared }} {{ hex .MarbleRun.SealKey }}";
    let manifest = accept_silently(&patched("/Marbles/marble/Parameters/Env/KEY", json!(text)));
    let references = &manifest.marbles["marble"].references;
    let names = |set: &std::collections::BTreeSet<marblerun_core::manifest::Name>| {
        set.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&references.secrets),
        ["cert", "private"],
        "with the certificate of the TLS tag"
    );
    assert_eq!(names(&references.previous), ["shared"]);
    assert!(references.seal_key);
}

#[test]
fn names_are_shown_without_harm() {
    let mut manifest = small();
    manifest["Config"]["x\u{1b}[31m"] = json!(1);
    let checked = check_bytes(manifest.to_string().as_bytes())
        .map_err(|error| error.to_string())
        .unwrap();
    assert_eq!(checked.warnings[0].kind, WarningKind::UnknownField);
    assert_eq!(checked.warnings[0].path, "Config.x\\u{1b}[31m");
    let long = "x".repeat(10_000);
    assert_refused(
        &patched("/Marbles/marble/Package", json!(long)),
        "Marbles.marble.Package",
        "xxx…`",
    );
}
