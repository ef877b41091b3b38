//! `collateral fetch` and `collateral show`.

use std::path::Path;

use marblerun_attestation::ReportBinding;
use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SnpReportFields, SoftwareTee, TdFields};
use marblerun_collateral::Document;
use marblerun_collateral::fakes::{Behaviour, Service};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::{Home, Outcome};

const EVIDENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../attestation/tests/evidence");

fn binding() -> ReportBinding {
    ReportBinding::certificate(b"a certificate")
}

/// A home with evidence of the software TEE in it.
fn home() -> Home {
    let (home, tee) = (Home::new(), SoftwareTee::development().unwrap());
    home.write(
        "sgx.quote",
        QuoteFields::sgx(EnclaveFields::new(&binding()))
            .sign(&tee.intel(DcapTee::Sgx))
            .unwrap(),
    );
    home.write(
        "tdx.quote",
        QuoteFields::tdx_v4(TdFields::new(&binding()))
            .sign(&tee.intel(DcapTee::Tdx))
            .unwrap(),
    );
    let platform = tee.snp(SnpProduct::Genoa, SnpSigningKey::Vcek);
    home.write(
        "snp.report",
        SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding())
            .sign(&platform)
            .unwrap(),
    );
    home
}

/// A service that lives as long as its runtime.
fn service() -> (Runtime, Service) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let service = runtime.block_on(Service::start()).unwrap();
    (runtime, service)
}

fn good(outcome: &Outcome) -> &Outcome {
    assert_eq!(outcome.code, 0, "{outcome:?}");
    outcome
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const ALL: [&str; 5] = [
    "sgx-506070000000-platform.json",
    "snp-genoa-vcek-c1c1c1c1c1c1c1c1-03020000000008c8.der",
    "snp-genoa-vcek.pem",
    "snp-genoa.crl",
    "tdx-506070000000-platform.json",
];

#[test]
fn evidence_is_read_in_each_spelling() {
    use base64::Engine as _;
    let home = home();
    let quote = std::fs::read(home.file("sgx.quote")).unwrap();
    let platform = SoftwareTee::development().unwrap().intel(DcapTee::Sgx);
    let for_key = |key: &[u8]| {
        let fields = EnclaveFields::new(&ReportBinding::public_key(key));
        QuoteFields::sgx(fields).sign(&platform).unwrap()
    };
    home.write("hex", hex::encode(&quote));
    home.write("base64", base64::engine::general_purpose::STANDARD.encode(&quote));
    home.write("certificate", super::quote::certificate_with(for_key).0);
    home.write("moved", super::quote::certificate_with(|_| quote.clone()).0);
    let fetch = |evidence: &str| {
        let (directory, flag) = (format!("of-{evidence}"), "--accept-simulation");
        let outcome = home.run(&["collateral", "fetch", evidence, "-o", &directory, flag]);
        (outcome, home.file(&directory))
    };
    for evidence in ["sgx.quote", "hex", "base64", "certificate"] {
        let (outcome, directory) = fetch(evidence);
        good(&outcome);
        assert_eq!(files(&directory), ["sgx-506070000000-platform.json"]);
    }
    // It stands in a certificate with another key than it speaks for.
    let (outcome, _) = fetch("moved");
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("step 5, binding"), "{outcome:?}");
}

#[test]
fn what_a_platform_needs_is_fetched_and_shown() {
    let (home, (_runtime, service)) = (home(), service());
    let url = service.url().to_string();
    for evidence in ["sgx.quote", "tdx.quote", "snp.report"] {
        let outcome = home.run(&[
            "collateral",
            "fetch",
            evidence,
            "-o",
            "dir",
            "--accept-simulation",
            "--pccs-url",
            &url,
            "--kds-url",
            &url,
        ]);
        good(&outcome);
        assert!(
            outcome.stdout.starts_with("Collateral written to: dir/"),
            "{outcome:?}"
        );
        assert!(outcome.stderr.contains("SIMULATION"), "{outcome:?}");
    }
    assert_eq!(files(&home.file("dir")), ALL);

    let shown = home.run(&["collateral", "show", "dir", "--accept-simulation"]);
    good(&shown);
    assert!(shown.stderr.contains("SIMULATION"), "{shown:?}");
    for part in [
        "collateral for SGX: FMSPC 506070000000, platform CA",
        "collateral for TDX: FMSPC 506070000000, platform CA",
        "VCEK certificate: Genoa, chip c1c1",
        "certificate chain of a product line: Genoa, for VCEK certificates",
        "revocation list: Genoa",
        "issued 2020-01-01T00:00:00Z, next update 2049-12-31T00:00:00Z: in force",
        "signatures verified",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let json = home.run(&[
        "collateral",
        "show",
        "dir",
        "--accept-simulation",
        "--format",
        "json",
    ]);
    let value: Value = serde_json::from_str(&good(&json).stdout).unwrap();
    let rows = value.as_array().unwrap();
    assert_eq!(rows.len(), ALL.len());
    assert!(
        rows.iter().all(|row| row["signatures"] == "verified"),
        "{value:#}"
    );
}

#[test]
fn the_software_tee_needs_no_service() {
    let home = home();
    for evidence in ["sgx.quote", "tdx.quote", "snp.report"] {
        let outcome = home.run(&[
            "collateral",
            "fetch",
            evidence,
            "-o",
            "dir",
            "--accept-simulation",
        ]);
        good(&outcome);
    }
    assert_eq!(files(&home.file("dir")), ALL);
}

#[test]
fn a_platform_of_intel_is_fetched_without_evidence() {
    let (home, (_runtime, service)) = (Home::new(), service());
    let url = service.url().to_string();
    let arguments = |fmspc: &'static str| {
        [
            "collateral",
            "fetch",
            "--fmspc",
            fmspc,
            "--tee",
            "tdx",
            "--ca",
            "processor",
            "-o",
            "dir",
            "--accept-simulation",
            "--pccs-url",
        ]
    };
    let mut words = arguments("00A067110000").to_vec();
    words.push(&url);
    let outcome = home.run(&[&words[..], &["--format", "json"]].concat());
    let value: Value = serde_json::from_str(&good(&outcome).stdout).unwrap();
    assert_eq!(value["files"][0], "dir/tdx-00a067110000-processor.json");
    assert_eq!(value["nextUpdate"], "2049-12-31T00:00:00Z");
    let mut words = arguments("00A0").to_vec();
    words.push(&url);
    let outcome = home.run(&words);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("expected 12 hex digits"), "{outcome:?}");
}

#[test]
fn what_fails_says_what_and_leaves_no_files() {
    let (home, (_runtime, service)) = (home(), service());
    let url = service.url().to_string();
    let fetch = |evidence: &str, more: &[&str]| {
        let fixed = [
            "collateral",
            "fetch",
            evidence,
            "-o",
            "dir",
            "--pccs-url",
            &url,
            "--kds-url",
            &url,
        ];
        home.run(&[&fixed[..], more].concat())
    };
    service.behave_for(Document::TcbInfo, Behaviour::Status(404));
    service.behave_for(Document::Vcek, Behaviour::Garbage);
    home.write("empty", "");
    home.write("none.pem", "none");
    for (outcome, part) in [
        (
            fetch("sgx.quote", &["--accept-simulation"]),
            "PCCS has no TCB information for this platform",
        ),
        (
            fetch("snp.report", &["--accept-simulation"]),
            "KDS: the VCEK certificate cannot be read",
        ),
        // Evidence of the software TEE is none under the roots of the manufacturers.
        (fetch("sgx.quote", &[]), "step 3"),
        (
            fetch("empty", &["--accept-simulation"]),
            "empty is not evidence: the file is empty",
        ),
        (fetch("missing", &["--accept-simulation"]), "cannot open missing"),
        (
            fetch(
                "sgx.quote",
                &["--accept-simulation", "--collateral-ca", "none.pem"],
            ),
            "none.pem: certificates for collateral services: expected PEM certificates",
        ),
        (
            home.run(&[
                "collateral",
                "fetch",
                "sgx.quote",
                "-o",
                "dir",
                "--accept-simulation",
                "--pccs-url",
                "http://pccs.example",
            ]),
            "expected https, found http to another host",
        ),
        (
            home.run(&[
                "collateral",
                "fetch",
                "sgx.quote",
                "-o",
                "dir",
                "--pccs-url",
                "pccs",
                "--accept-simulation",
            ]),
            "expected an address such as https://",
        ),
        (home.run(&["collateral", "fetch", "-o", "dir"]), "required"),
    ] {
        assert_eq!(outcome.code, 1, "{part}: {outcome:?}");
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
    assert!(!home.file("dir").exists());
}

#[test]
fn real_collateral_is_shown_with_its_dates_and_signatures() {
    let home = Home::new();
    for (file, name) in [
        ("sgx_v3.collateral.json", "sgx.json"),
        ("snp_milan.vcek.der", "vcek.der"),
        ("snp_milan.ask_ark.pem", "chain.pem"),
    ] {
        std::fs::copy(Path::new(EVIDENCE).join(file), home.file(name)).unwrap();
    }
    let shown = home.run(&["collateral", "show", "."]);
    good(&shown);
    for part in [
        "FMSPC 00a067110000, processor CA",
        "out of date since 2025-07-",
        "TCB information: 2025-06-",
        "VCEK certificate: Milan",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    assert_eq!(
        shown.stdout.matches("signatures verified").count(),
        3,
        "{}",
        shown.stdout
    );
    assert_eq!(shown.stderr, "");
}

#[test]
fn files_that_cannot_be_used_are_told_and_fail() {
    let home = Home::new();
    let collateral = std::fs::read_to_string(Path::new(EVIDENCE).join("sgx_v3.collateral.json")).unwrap();
    let forged = collateral.replacen("UpToDate", "OutOfDate", 1);
    assert_ne!(forged, collateral);
    home.write("forged.json", forged);
    home.write("broken.json", "{");
    let vcek = std::fs::read(Path::new(EVIDENCE).join("snp_milan.vcek.der")).unwrap();
    home.write("vcek.der", vcek);
    let shown = home.run(&["collateral", "show", "."]);
    assert_eq!(shown.code, 1);
    for part in [
        "not verified: step 6",
        "not readable: ",
        "not verified: no certificate chain of its product line beside it",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    assert!(shown.stderr.contains("3 of 3 files cannot be used"), "{shown:?}");
    for (path, part) in [("missing", "cannot read missing"), ("forged.txt", "cannot read")] {
        let outcome = home.run(&["collateral", "show", path]);
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.contains(part), "{outcome:?}");
    }
    // Neither read nor waited for.
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, home.file(name)).unwrap();
    link("/dev/zero", "device.json");
    link("loop.crl", "loop.crl");
    link("nowhere", "nowhere.pem");
    std::fs::create_dir(home.file("directory.der")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(home.file("pipe.json"))
        .status();
    assert!(pipe.unwrap().success());
    let shown = home.run(&["collateral", "show", "."]);
    assert_eq!(shown.code, 1);
    for part in [
        "pipe.json\n  not readable: expected a regular file",
        "device.json\n  not readable: expected a regular file",
        "directory.der\n  not readable: expected a regular file",
        "loop.crl\n  not readable: Too many levels of symbolic links",
        "nowhere.pem\n  not readable: No such file",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    assert!(shown.stderr.contains("8 of 8 files cannot be used"), "{shown:?}");
    let shown = home.run(&["collateral", "show", "pipe.json"]);
    assert!(shown.stdout.contains("expected a regular file"), "{shown:?}");

    std::fs::create_dir(home.file("none")).unwrap();
    let outcome = home.run(&["collateral", "show", "none"]);
    assert!(
        outcome.stderr.contains("no files of collateral found"),
        "{outcome:?}"
    );
}
