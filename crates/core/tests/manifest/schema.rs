//! The JSON Schema of the manifest, `docs/manifest.schema.json`: takes what the check takes, refuses clear mistakes, and
//! knows the same fields.

use jsonschema::Validator;
use marblerun_core::manifest::WarningKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::arbitrary::{any_json, pointers};
use super::support::{check_value, patched, set, small};

const SCHEMA: &str = include_str!("../../../../docs/manifest.schema.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn validator() -> &'static Validator {
    static VALIDATOR: std::sync::OnceLock<Validator> = std::sync::OnceLock::new();
    VALIDATOR.get_or_init(|| jsonschema::draft202012::new(&schema()).unwrap())
}

fn problems(manifest: &Value) -> Vec<String> {
    validator()
        .iter_errors(manifest)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn it_is_a_schema() {
    assert!(jsonschema::meta::is_valid(&schema()));
}

#[test]
fn manifests_that_are_accepted_comply() {
    let examples = [
        include_str!("../golden/manifest/accepted.json"),
        include_str!("../../../../examples/demo/manifest.json"),
        include_str!("../../../../examples/nginx/manifest.json"),
        include_str!("../../../../examples/redis/manifest.json"),
        include_str!("../../../../examples/attestation/manifest.json"),
    ];
    for example in examples {
        let manifest: Value = serde_json::from_str(example).unwrap();
        assert_eq!(problems(&manifest), Vec::<String>::new());
    }
    assert_eq!(problems(&small()), Vec::<String>::new());
}

#[test]
fn clear_mistakes_do_not() {
    let mistakes = [
        ("/Packages", json!([])),
        ("/Packages/package/SecurityVersion", json!(-1)),
        ("/Packages/package/AcceptedTCBStatuses", json!(["Uptodate"])),
        ("/Packages/package/TDX", json!({"MRTD": "00"})),
        (
            "/Packages/package/TDX",
            json!({"AcceptedTCBStatuses": ["upToDate"]}),
        ),
        ("/Packages/package/SNP", json!({"HostData": "00".repeat(48)})),
        ("/Packages/package/SNP", json!({"VMPL": 4})),
        ("/Packages/package/SNP", json!({"Product": ["Rome"]})),
        ("/Packages/package/SNP", json!({"MinimumTCB": {"TEE": 256}})),
        ("/Infrastructures/here/QESVN", json!(70_000)),
        ("/Infrastructures/here/RootCA", json!([256])),
        ("/Marbles/marble/Package", json!(1)),
        ("/Marbles/marble/MaxActivations", json!("1")),
        ("/Marbles/marble/Parameters/Argv", json!("a b")),
        ("/Marbles/marble/Parameters/Env", json!({"A=B": "x"})),
        ("/Marbles/marble/Parameters/Env/KEY", json!(1)),
        (
            "/Marbles/marble/Parameters/Env/KEY",
            json!({"Data": "", "Encoding": "base46"}),
        ),
        ("/Secrets/shared/Type", json!("symmetric")),
        ("/Secrets/shared/Size", json!(12)),
        ("/Secrets/x", json!({"Type": "cert-rsa", "Size": 1024})),
        ("/Secrets/x", json!({"Type": "cert-ecdsa"})),
        ("/Secrets/x", json!({"Type": "plain"})),
        ("/Secrets/x", json!({"Size": 128})),
        ("/Roles/reader/ResourceType", json!("secrets")),
        ("/Config", json!({"SealMode": "Product"})),
        ("/Config", json!({"RecoveryThreshold": 1})),
    ];
    for (pointer, value) in mistakes {
        let manifest = patched(pointer, value);
        let silent = check_value(&manifest).is_ok_and(|checked| checked.warnings.is_empty());
        assert!(!silent, "{pointer}: the check takes it without a word");
        assert!(!problems(&manifest).is_empty(), "{pointer}: the schema takes it");
    }
    for section in ["Packages", "Marbles"] {
        let mut manifest = small();
        manifest.as_object_mut().unwrap().remove(section);
        assert!(!problems(&manifest).is_empty(), "without {section}");
    }
}

/// Objects of the small manifest, and where their fields stand in the schema.
const PLACES: [(&str, &str); 12] = [
    ("", ""),
    ("/Packages/package", "/$defs/package"),
    ("/Infrastructures/here", "/$defs/infrastructure"),
    ("/Marbles/marble", "/$defs/marble"),
    (
        "/Marbles/marble/Parameters",
        "/$defs/marble/properties/Parameters",
    ),
    ("/Secrets/cert", "/$defs/secret"),
    ("/Secrets/cert/Cert", "/$defs/secret/properties/Cert"),
    (
        "/Secrets/cert/Cert/Subject",
        "/$defs/secret/properties/Cert/properties/Subject",
    ),
    ("/Users/alice", "/$defs/user"),
    ("/Roles/reader", "/$defs/role"),
    ("/TLS/tag", "/$defs/tls"),
    ("/Config", "/$defs/config"),
];

fn unknown_fields(manifest: &Value) -> usize {
    let checked = check_value(manifest).unwrap_or_else(|error| panic!("{error}"));
    let unknown = |warning: &&_| -> bool {
        let warning: &marblerun_core::manifest::Warning = warning;
        warning.kind == WarningKind::UnknownField
    };
    checked.warnings.iter().filter(unknown).count()
}

/// The small manifest with every kind of object in it.
fn whole() -> Value {
    let mut manifest = small();
    for (pointer, value) in [
        (
            "/Secrets/cert",
            json!({"Type": "cert-ed25519", "Cert": {"Subject": {}}}),
        ),
        ("/Config", json!({})),
    ] {
        set(&mut manifest, pointer, value);
    }
    manifest
}

#[test]
fn the_check_knows_every_field_of_the_schema() {
    let schema = schema();
    for (place, definition) in PLACES {
        let properties = schema.pointer(&format!("{definition}/properties")).unwrap();
        for field in properties.as_object().unwrap().keys() {
            let mut manifest = whole();
            let object = manifest
                .pointer_mut(place)
                .unwrap_or_else(|| panic!("nothing at {place}"));
            object
                .as_object_mut()
                .unwrap()
                .entry(field)
                .or_insert(Value::Null);
            assert_eq!(unknown_fields(&manifest), 0, "{place}/{field}");
        }
        let mut manifest = whole();
        manifest.pointer_mut(place).unwrap()["Nonsense"] = Value::Null;
        assert_eq!(unknown_fields(&manifest), 1, "{place}");
    }
}

/// Objects in which an unknown field is a problem, not a warning.
#[test]
fn the_check_knows_every_field_of_claims() {
    let (digits, schema) = ("00".repeat(48), schema());
    let claims = json!({
        "TDX": {"MRTD": digits, "RTMR0": digits, "RTMR1": digits, "RTMR2": digits},
        "SNP": {"Measurement": digits, "MinimumTCB": {}},
    });
    for (place, definition) in [
        ("/TDX", "/$defs/tdx"),
        ("/SNP", "/$defs/snp"),
        ("/SNP/MinimumTCB", "/$defs/snp/properties/MinimumTCB"),
    ] {
        let with = |field: &str| {
            let mut manifest = patched("/Packages/package", claims.clone());
            let object = &mut manifest.pointer_mut("/Packages/package").unwrap();
            let object = object.pointer_mut(place).unwrap().as_object_mut().unwrap();
            object.entry(field).or_insert(Value::Null);
            manifest
        };
        let properties = schema.pointer(&format!("{definition}/properties")).unwrap();
        for field in properties.as_object().unwrap().keys() {
            let manifest = with(field);
            assert_eq!(unknown_fields(&manifest), 0, "{place}/{field}");
            assert_eq!(problems(&manifest), Vec::<String>::new());
        }
        assert!(check_value(&with("Nonsense")).is_err(), "{place}");
    }
}

#[test]
fn the_schema_knows_every_field_of_the_check() {
    let sources = [
        (include_str!("../../src/manifest/compile.rs"), "SECTIONS", ""),
        (
            include_str!("../../src/manifest/packages.rs"),
            "FIELDS",
            "/$defs/package",
        ),
        (include_str!("../../src/manifest/tdx.rs"), "FIELDS", "/$defs/tdx"),
        (include_str!("../../src/manifest/snp.rs"), "FIELDS", "/$defs/snp"),
        (
            include_str!("../../src/manifest/snp.rs"),
            "MINIMUM_TCB",
            "/$defs/snp/properties/MinimumTCB",
        ),
        (
            include_str!("../../src/manifest/infrastructures.rs"),
            "FIELDS",
            "/$defs/infrastructure",
        ),
        (
            include_str!("../../src/manifest/marbles.rs"),
            "FIELDS",
            "/$defs/marble",
        ),
        (
            include_str!("../../src/manifest/marbles.rs"),
            "PARAMETERS",
            "/$defs/marble/properties/Parameters",
        ),
        (
            include_str!("../../src/manifest/secrets.rs"),
            "FIELDS",
            "/$defs/secret",
        ),
        (
            include_str!("../../src/manifest/users.rs"),
            "FIELDS",
            "/$defs/user",
        ),
        (
            include_str!("../../src/manifest/roles.rs"),
            "FIELDS",
            "/$defs/role",
        ),
        (include_str!("../../src/manifest/tls.rs"), "TAG", "/$defs/tls"),
        (
            include_str!("../../src/manifest/config.rs"),
            "FIELDS",
            "/$defs/config",
        ),
    ];
    let schema = schema();
    for (source, constant, definition) in sources {
        let (_, after) = source
            .split_once(&format!("const {constant}: &[&str] = &["))
            .unwrap();
        let (list, _) = after.split_once("];").unwrap();
        let fields: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert!(fields.len() >= 2, "{definition}: {fields:?}");
        for field in fields {
            let pointer = format!("{definition}/properties/{field}");
            assert!(
                schema.pointer(&pointer).is_some(),
                "{pointer} is not in the schema"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_the_check_takes_without_a_word_complies(at in any::<prop::sample::Index>(), value in any_json()) {
        let pointers = pointers();
        let pointer = at.get(&pointers);
        if pointer.is_empty() {
            return Ok(());
        }
        let manifest = patched(pointer, value);
        if check_value(&manifest).is_ok_and(|checked| checked.warnings.is_empty()) {
            prop_assert_eq!(problems(&manifest), Vec::<String>::new(), "{}", manifest);
        }
    }
}
