//! Every reason for refusing evidence and every rule it is held against, from a marble's premain to the Coordinator in
//! strict simulation: what the marble is told, and what the log has.
//!
//! [`door`] sends a row of a table and looks at what comes of it. The tables: [`quotes`] (with [`platforms`]) and [`reports`] are
//! refused for what they are, [`documents`] and [`amd_documents`] for what collateral from a service is or says, [`rules`] for what
//! the manifest says.

mod amd_documents;
mod documents;
mod door;
mod make;
mod platforms;
mod quotes;
mod reports;
mod rules;
mod served;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use self::door::{Expected, Row};
use self::make::{enclave, guest, td};
use crate::support::program::{Program, start};

/// Reasons that no marble can bring about, and why.
const NEVER: [(&str, &str); 3] = [
    (
        "CertificateMissing",
        "collateral that lacks a certificate is not handed out",
    ),
    (
        "NoRoot",
        "there is a root of the software TEE for every product line",
    ),
    ("AnotherCollateral", "collateral is kept by manufacturer"),
];

fn start_strict(directory: &Path, flags: &[&str]) -> Program {
    let strict = ["--simulation-strict", "--http-error-log-level", "warn"];
    start(directory, &[&strict, flags].concat())
}

/// One package for all TEEs, and one that asks for more of SGX.
fn manifest() -> Value {
    let sgx = json!({"SignerID": "51".repeat(32), "ProductID": 1, "SecurityVersion": 1});
    let (mut any, mut hardened) = (sgx.clone(), sgx);
    any["TDX"] = json!({
        "MRTD": "d0".repeat(48), "RTMR0": "a0".repeat(48), "RTMR1": "a1".repeat(48), "RTMR2": "a2".repeat(48),
    });
    any["SNP"] = json!({"Measurement": "3e".repeat(48)});
    hardened["AcceptedAdvisories"] = json!(["INTEL-SA-00001"]);
    json!({
        "Packages": {"any": any, "hardened": hardened},
        "Marbles": {"any": {"Package": "any"}, "hardened": {"Package": "hardened"}},
    })
}

async fn check(manifest: &Value, rows: Vec<Row>) {
    let directory = tempfile::tempdir().unwrap();
    let program = start_strict(directory.path(), &[]);
    program.set_manifest(manifest).await;
    door::check_all(program, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_are_refused_for_what_they_are() {
    let mut rows = quotes::rows();
    for evidence in [enclave(|_| {}), td(|_| {})] {
        rows.push(Row::new("a quote as it should be", evidence, Expected::Admitted));
    }
    check(&manifest(), rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_refused_for_what_they_are() {
    let mut rows = reports::rows();
    for evidence in [guest(|_| {}), make::with_vcek(|_, _| {})] {
        rows.push(Row::new("a report as it should be", evidence, Expected::Admitted));
    }
    check(&manifest(), rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_collateral_of_intel_only_the_log_says() {
    served::check_all(documents::cases()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_collateral_of_amd_only_the_log_says() {
    served::check_all(amd_documents::cases()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_of_a_package_is_told() {
    let rows = [rules::sgx_rules(), rules::tdx_rules(), rules::snp_rules()];
    check(&rules::manifest(), rows.into_iter().flatten().collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_of_infrastructures_is_told() {
    check(&rules::infrastructures(false), rules::infrastructure_rules()).await;
    check(&rules::infrastructures(true), vec![rules::root_rule()]).await;
}

/// Names of the variants of an enum, from its source.
fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| {
            let end = line.find(|character: char| !character.is_alphanumeric());
            line[..end.unwrap_or(line.len())].to_owned()
        })
        .collect()
}

#[test]
fn each_reason_has_a_row_or_can_never_be() {
    let reasons = include_str!("../../../../attestation/src/reason/mod.rs");
    let formats = include_str!("../../../../attestation/src/quote.rs");
    let mut expected = variants(reasons, "Reason");
    expected.extend(variants(formats, "UnrecognisedEvidence"));
    assert!(expected.len() > 60, "{expected:?}");

    let mut rows = quotes::rows();
    rows.extend(reports::rows());
    rows.extend(documents::cases().into_iter().map(|case| case.row));
    rows.extend(amd_documents::cases().into_iter().map(|case| case.row));
    let found: BTreeSet<String> = rows.iter().flat_map(Row::variants).collect();
    let never: BTreeSet<String> = NEVER.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(found.is_disjoint(&never), "they can be: {found:?}");
    let covered: BTreeSet<String> = found.union(&never).cloned().collect();
    let missing: Vec<_> = expected.difference(&covered).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let unknown: Vec<_> = covered.difference(&expected).collect();
    assert!(unknown.is_empty(), "no such reason: {unknown:?}");
}

/// The schema has every field that a manifest can have: a test of the core sees to that.
#[test]
fn each_field_that_evidence_is_held_against_has_a_row() {
    let schema = include_str!("../../../../../docs/manifest.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let fields = |object: &Value, prefix: &str| -> Vec<String> {
        let names = object["properties"].as_object().unwrap().keys();
        names.map(|name| format!("{prefix}{name}")).collect()
    };
    let snp = &schema["$defs"]["snp"];
    let mut expected: BTreeSet<String> = [
        fields(&schema["$defs"]["package"], ""),
        fields(&schema["$defs"]["tdx"], "TDX."),
        fields(snp, "SNP."),
        fields(&snp["properties"]["MinimumTCB"], "SNP.MinimumTCB."),
        fields(&schema["$defs"]["infrastructure"], ""),
    ]
    .concat()
    .into_iter()
    .collect();
    assert!(expected.len() > 35, "{expected:?}");
    // `TDX` and `SNP` are for evidence of those TEEs, and the rules of `MinimumTCB` are its fields.
    for object in ["TDX", "SNP.MinimumTCB"] {
        assert!(expected.remove(object));
    }

    let mut rows = [rules::sgx_rules(), rules::tdx_rules(), rules::snp_rules()];
    rows[0].extend(rules::infrastructure_rules());
    rows[0].push(rules::root_rule());
    let broken: BTreeSet<&str> = rows.iter().flatten().map(|row| row.name).collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|name| !broken.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

#[test]
fn a_reason_that_is_new_is_seen() {
    let source = "pub enum Other {\n    No,\n}\n\npub enum Reason {\n    /// Text\n    #[error(\"Format\")]\n    One,\n    \
                  Two(Other),\n    Three {\n        Field: u8,\n    },\n}\n";
    let found: Vec<_> = variants(source, "Reason").into_iter().collect();
    assert_eq!(found, ["One", "Three", "Two"]);
}
