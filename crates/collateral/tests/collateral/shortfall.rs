//! What is said when a directory has only a part of what is needed, and a service is asked for the rest or is not there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use marblerun_attestation::Collateral;
use marblerun_attestation::SimulationRoots;
use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{CollateralNeeded, DcapTee};
use marblerun_attestation::fakes::SoftwareTee;
use marblerun_collateral::fakes::{Behaviour, Service};
use marblerun_collateral::{Asker, CollateralError, Collaterals, Config, Item, Limits, Source};
use tempfile::TempDir;

use super::{TestClock, config, milan, sgx, snp_needed};

const CHAIN: &str = "snp-milan-vcek.pem";
const LIST: &str = "snp-milan.crl";
const VCEK: &str = "snp-milan-vcek-c1c1c1c1c1c1c1c1-03020000000008c8.der";

/// A directory with everything for SGX and for a chip of `product`.
fn directory(product: SnpProduct) -> TempDir {
    let directory = TempDir::new().unwrap();
    let software = SoftwareTee::development().unwrap();
    let intel = software.intel(DcapTee::Sgx).collateral().unwrap();
    let amd = software.snp(product, SnpSigningKey::Vcek).collateral().unwrap();
    for collateral in [Collateral::Dcap(intel), Collateral::Snp(amd)] {
        for item in Item::of(&collateral).unwrap() {
            item.write(directory.path()).unwrap();
        }
    }
    directory
}

fn without(files: &[&str]) -> TempDir {
    let directory = directory(SnpProduct::Milan);
    for file in files {
        fs::remove_file(directory.path().join(file)).unwrap();
    }
    directory
}

fn offline(directory: &Path) -> Collaterals {
    let config = Config {
        directory: Some(directory.to_owned()),
        ..Config::new(Source::Nothing)
    };
    Collaterals::new(config, SimulationRoots::development(), TestClock::new().clock()).unwrap()
}

fn online(directory: &Path, service: &Service, clock: &TestClock) -> Collaterals {
    let config = Config {
        directory: Some(directory.to_owned()),
        ..config(service)
    };
    Collaterals::new(config, SimulationRoots::development(), clock.clock()).unwrap()
}

async fn why(collaterals: &Collaterals, needed: &CollateralNeeded) -> CollateralError {
    collaterals.get(needed, Asker::Stranger).await.unwrap_err()
}

#[tokio::test]
async fn the_part_that_is_missing_is_named_with_what_was_asked() {
    let service = Service::start().await.unwrap();
    service.behave(&Behaviour::Status(503));
    for (missing, named, document) in [
        (&[LIST][..], "has no CRL of Milan", "when asked for the "),
        (
            &[CHAIN],
            "has no certificate chain of Milan for VCEK certificates",
            "when asked for the ",
        ),
        // The VCEK certificate is there: it must not be the one that is said to be missing.
        (
            &[CHAIN, LIST],
            "has no VCEK chain and CRL of Milan",
            "when asked for the ",
        ),
        (
            &[VCEK],
            "has no VCEK certificate of Milan for chip c1c1c1c1c1c1c1c1… and TCB 03020000000008c8",
            "when asked for the VCEK certificate",
        ),
    ] {
        let directory = without(missing);
        let collaterals = online(directory.path(), &service, &TestClock::new());
        let error = why(&collaterals, &milan()).await;
        let text = error.to_string();
        assert!(
            text.starts_with(&format!(
                "the directory of collateral {named}; KDS: status 503 {document}"
            )),
            "{text}"
        );
        assert_eq!((error.kind(), error.is_about_evidence()), ("status", false));

        let text = why(&offline(directory.path()), &milan()).await.to_string();
        assert!(
            text.starts_with("no collateral service is configured, and the directory has no "),
            "{text}"
        );
        // One word of it is enough to tell which part.
        let part = named.trim_start_matches("has no ").split(" for ").next().unwrap();
        assert!(text.contains(part), "{part}: {text}");
    }
    let directory = without(&["sgx-506070000000-platform.json"]);
    let collaterals = online(directory.path(), &service, &TestClock::new());
    let text = why(&collaterals, &sgx()).await.to_string();
    assert!(
        text.starts_with(
            "the directory of collateral has no SGX collateral for FMSPC 506070000000 and the platform CA; PCCS: status 503"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn a_part_that_was_not_to_be_had_is_looked_for_again() {
    let service = Service::start().await.unwrap();
    service.behave(&Behaviour::Status(503));
    let (directory, clock) = (without(&[CHAIN]), TestClock::new());
    let collaterals = online(directory.path(), &service, &clock);
    // A report with its intermediate certificate needs no more than is there.
    let mut with_intermediate = snp_needed(SnpProduct::Milan, SnpSigningKey::Vcek);
    with_intermediate.intermediate_present = true;
    let with_intermediate = CollateralNeeded::Snp(with_intermediate);
    why(&collaterals, &milan()).await;
    assert!(collaterals.get(&with_intermediate, Asker::Stranger).await.is_ok());

    service.behave(&Behaviour::Good);
    let again = Limits::default().retry_after.as_secs();
    clock.advance(again - 1);
    let asked = service.requests().len();
    why(&collaterals, &milan()).await;
    assert_eq!(service.requests().len(), asked, "not at each request");
    clock.advance(1);
    // Nobody is kept waiting, so that it may take a moment.
    for _ in 0..200 {
        if collaterals.get(&milan(), Asker::Stranger).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the chain was never looked for again");
}

#[tokio::test]
async fn files_that_do_not_hold_are_named() {
    let service = Service::start().await.unwrap();
    service.behave(&Behaviour::Status(503));
    for (file, needed) in [
        ("sgx-506070000000-platform.json", sgx()),
        (LIST, milan()),
        (VCEK, milan()),
    ] {
        let directory = without(&[]);
        let path = directory.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        if file.ends_with(".json") {
            let text = String::from_utf8(bytes).unwrap();
            let forged = text
                .replace("SWHardeningNeeded", "UpToDate")
                .replace("2020-", "2019-");
            assert_ne!(forged, text);
            bytes = forged.into_bytes();
        } else {
            // The signature is the last thing in it.
            *bytes.last_mut().unwrap() ^= 1;
        }
        fs::write(&path, bytes).unwrap();
        for (collaterals, service) in [
            (offline(directory.path()), "no collateral service is configured"),
            (
                online(directory.path(), &service, &TestClock::new()),
                "status 503 when asked for",
            ),
        ] {
            let text = why(&collaterals, &needed).await.to_string();
            for part in [
                file,
                "passed over because collateral from directory is refused: ",
                service,
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn files_that_cannot_be_read_are_named_where_something_is_missing() {
    let directory = without(&[VCEK]);
    fs::write(directory.path().join("broken.der"), "x").unwrap();
    fs::write(directory.path().join("worse.der"), "x").unwrap();
    let text = why(&offline(directory.path()), &milan()).await.to_string();
    assert!(
        text.starts_with("the directory of collateral has no VCEK certificate of Milan")
            && text.contains("(of 2 files that cannot be read, the first is broken.der: ")
            && text.ends_with("; no collateral service is configured"),
        "{text}"
    );
}

/// Reports that do not name their product line may be of one that the directory has.
#[tokio::test]
async fn the_directory_is_asked_for_each_product_line_when_the_service_fails() {
    let service = Service::start().await.unwrap();
    service.behave(&Behaviour::Status(503));
    let directory = directory(SnpProduct::Genoa);
    let collaterals = online(directory.path(), &service, &TestClock::new());
    let mut unnamed = snp_needed(SnpProduct::Genoa, SnpSigningKey::Vcek);
    unnamed.product = None;
    let unnamed = CollateralNeeded::Snp(unnamed);
    collaterals.get(&unnamed, Asker::Stranger).await.unwrap();
}
