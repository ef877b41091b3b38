//! A directory in place of a network.

use std::fs;
use std::path::Path;
use std::time::Duration;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{CollateralNeeded, DcapTee};
use marblerun_attestation::fakes::{self, IntelPlatform, SnpPlatform, SoftwareTee};
use marblerun_attestation::{
    Collateral, DcapCollateral, ProductionRoots, Quote, ReportBinding, SimulationRoots, SnpCollateral,
    UnixSeconds, Verifier,
};
use marblerun_collateral::fakes::{Behaviour, Service};
use marblerun_collateral::{
    Asker, CollateralError, Collaterals, Config, Freshness, Item, Source, StartError,
};
use tempfile::TempDir;

use super::{DAY, NOW, TestClock, chip, config, intel, milan, sgx, snp_needed};

/// Real evidence, with its collateral; where it is from is told there.
const EVIDENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../attestation/tests/evidence");

fn offline(directory: &Path, clock: &TestClock) -> Collaterals {
    start(directory, clock, Duration::ZERO)
}

fn start(directory: &Path, clock: &TestClock, grace: Duration) -> Collaterals {
    let config = Config {
        directory: Some(directory.to_owned()),
        grace,
        ..Config::new(Source::Nothing)
    };
    Collaterals::new(config, SimulationRoots::development(), clock.clock()).unwrap()
}

fn platform(change: impl FnOnce(&mut IntelPlatform)) -> DcapCollateral {
    let mut platform = SoftwareTee::development().unwrap().intel(DcapTee::Sgx);
    change(&mut platform);
    platform.collateral().unwrap()
}

fn amd(product: SnpProduct, change: impl FnOnce(&mut SnpPlatform)) -> SnpCollateral {
    let mut platform = SoftwareTee::development()
        .unwrap()
        .snp(product, SnpSigningKey::Vcek);
    change(&mut platform);
    platform.collateral().unwrap()
}

fn write(directory: &Path, collateral: &Collateral) {
    for item in Item::of(collateral).unwrap() {
        item.write(directory).unwrap();
    }
}

async fn get(collaterals: &Collaterals, needed: &CollateralNeeded) -> Result<Freshness, CollateralError> {
    collaterals
        .get(needed, Asker::Stranger)
        .await
        .map(|obtained| obtained.freshness)
}

#[tokio::test]
async fn what_is_written_is_found_by_what_it_is_for() {
    let directory = TempDir::new().unwrap();
    write(directory.path(), &Collateral::Dcap(platform(|_| {})));
    for product in SnpProduct::ALL {
        write(directory.path(), &Collateral::Snp(amd(product, |_| {})));
    }
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "sgx-506070000000-platform.json",
            "snp-genoa-vcek-c1c1c1c1c1c1c1c1-03020000000008c8.der",
            "snp-genoa-vcek.pem",
            "snp-genoa.crl",
            "snp-milan-vcek-c1c1c1c1c1c1c1c1-03020000000008c8.der",
            "snp-milan-vcek.pem",
            "snp-milan.crl",
            "snp-turin-vcek-c1c1c1c1c1c1c1c1-01030208000000c8.der",
            "snp-turin-vcek.pem",
            "snp-turin.crl",
        ]
    );
    // Names mean nothing but their endings.
    fs::rename(
        directory.path().join("snp-milan.crl"),
        directory.path().join("another name.CRL"),
    )
    .unwrap();
    let collaterals = offline(directory.path(), &TestClock::new());
    let mut needed = vec![sgx()];
    for product in SnpProduct::ALL {
        needed.push(CollateralNeeded::Snp(snp_needed(product, SnpSigningKey::Vcek)));
    }
    for needed in needed {
        let obtained = collaterals.get(&needed, Asker::Trusted).await.unwrap();
        assert_eq!(obtained.freshness, Freshness::Fresh);
    }
    for missing in [intel(DcapTee::Tdx, 0), intel(DcapTee::Sgx, 1), chip(1)] {
        let error = collaterals.get(&missing, Asker::Trusted).await.unwrap_err();
        assert_eq!(error.kind(), "not_in_directory", "{error}");
    }
    assert!(
        collaterals
            .stats()
            .fetches
            .iter()
            .all(|fetch| fetch.origin == "directory")
    );
}

#[tokio::test]
async fn the_directory_is_looked_at_again_when_it_changes() {
    let (directory, clock) = (TempDir::new().unwrap(), TestClock::new());
    let collaterals = offline(directory.path(), &clock);
    assert!(get(&collaterals, &sgx()).await.is_err());
    write(
        directory.path(),
        &Collateral::Dcap(platform(|platform| {
            platform.root_list.next_update = Some(UnixSeconds(NOW + DAY));
        })),
    );
    // The failure is remembered until the directory is seen to have changed.
    assert!(get(&collaterals, &sgx()).await.is_err());
    collaterals.refresh_due().await;
    clock.advance(1);
    assert_eq!(get(&collaterals, &sgx()).await, Ok(Freshness::Fresh));

    clock.advance(DAY);
    assert!(matches!(
        get(&collaterals, &sgx()).await,
        Err(CollateralError::OutOfDate {
            origin: "directory",
            ..
        })
    ));
    write(directory.path(), &Collateral::Dcap(platform(|_| {})));
    clock.advance(60);
    collaterals.refresh_due().await;
    assert_eq!(get(&collaterals, &sgx()).await, Ok(Freshness::Fresh));
}

#[tokio::test]
async fn files_that_change_before_their_end_take_the_place_of_those_held() {
    let (directory, clock) = (TempDir::new().unwrap(), TestClock::new());
    let until = |day: u64| {
        Collateral::Dcap(platform(move |platform| {
            platform.root_list.next_update = Some(UnixSeconds(NOW + day * DAY));
        }))
    };
    write(directory.path(), &until(1));
    let collaterals = offline(directory.path(), &clock);
    let end = async || {
        let obtained = collaterals.get(&sgx(), Asker::Trusted).await.unwrap();
        obtained.collateral.next_update()
    };
    assert_eq!(end().await, Some(UnixSeconds(NOW + DAY)));
    write(directory.path(), &until(2));
    collaterals.refresh_due().await;
    assert_eq!(end().await, Some(UnixSeconds(NOW + 2 * DAY)));
    // Back to one that ends sooner: not while the other is in force.
    write(directory.path(), &until(1));
    collaterals.refresh_due().await;
    assert_eq!(end().await, Some(UnixSeconds(NOW + 2 * DAY)));
}

fn fetches(collaterals: &Collaterals) -> u64 {
    collaterals.stats().fetches.iter().map(|fetch| fetch.count).sum()
}

#[tokio::test]
async fn out_of_date_it_is_used_within_the_grace_and_said() {
    let (directory, clock) = (TempDir::new().unwrap(), TestClock::new());
    write(
        directory.path(),
        &Collateral::Dcap(platform(|platform| {
            platform.pck_list.next_update = Some(UnixSeconds(NOW - 1));
        })),
    );
    write(
        directory.path(),
        &Collateral::Snp(amd(SnpProduct::Milan, |platform| {
            platform.list.next_update = Some(UnixSeconds(NOW - 1));
        })),
    );
    for needed in [sgx(), milan()] {
        clock.set(NOW);
        let strict = offline(directory.path(), &clock);
        assert!(get(&strict, &needed).await.is_err());
        let lenient = start(directory.path(), &clock, Duration::from_secs(DAY));
        let stale = Ok(Freshness::Stale {
            since: UnixSeconds(NOW - 1),
        });
        assert_eq!(get(&lenient, &needed).await, stale);
        clock.advance(10);
        let looked = fetches(&lenient);
        assert_eq!(get(&lenient, &needed).await, stale);
        assert_eq!(
            fetches(&lenient),
            looked,
            "the directory is not looked at each time"
        );
        clock.set(NOW + DAY);
        assert_eq!(get(&lenient, &needed).await.unwrap_err().kind(), "out_of_date");
    }
}

/// The service is not to blame alone: whoever carries files over learns that they are too old.
#[tokio::test]
async fn files_out_of_date_are_told_beside_what_the_service_did() {
    let directory = TempDir::new().unwrap();
    write(directory.path(), &Collateral::Dcap(platform(|_| {})));
    write(directory.path(), &Collateral::Snp(amd(SnpProduct::Milan, |_| {})));
    let service = Service::start().await.unwrap();
    service.behave(&Behaviour::Status(500));
    let clock = TestClock::new();
    let config = Config {
        directory: Some(directory.path().to_owned()),
        ..config(&service)
    };
    let collaterals = Collaterals::new(config, SimulationRoots::development(), clock.clock()).unwrap();
    assert_eq!(get(&collaterals, &sgx()).await, Ok(Freshness::Fresh));
    clock.set(fakes::UNTIL.0 + 3600);
    for needed in [sgx(), milan()] {
        let error = get(&collaterals, &needed).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("collateral in the directory is out of date since ") && text.contains("500"),
            "{text}"
        );
        // Metrics and what strangers learn depend on the reason alone.
        assert_eq!((error.kind(), error.is_about_evidence()), ("status", false));
    }
}

#[tokio::test]
async fn files_that_are_no_collateral_or_of_others_are_passed_over() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    fs::write(path.join("README"), "not looked at").unwrap();
    fs::write(path.join("broken.json"), "{").unwrap();
    fs::write(path.join("broken.der"), "x").unwrap();
    fs::write(path.join("broken.pem"), "x").unwrap();
    fs::write(path.join("broken.crl"), "x").unwrap();
    fs::write(path.join("huge.json"), vec![b' '; 1024 * 1024 + 1]).unwrap();
    fs::create_dir(path.join("directory.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.join("link.json")).unwrap();
    write(path, &Collateral::Dcap(platform(|_| {})));
    let others = SoftwareTee::generate().unwrap();
    write(
        path,
        &Collateral::Dcap(others.intel(DcapTee::Tdx).collateral().unwrap()),
    );
    let collaterals = offline(path, &TestClock::new());
    assert!(collaterals.get(&sgx(), Asker::Trusted).await.is_ok());
    let error = collaterals
        .get(&intel(DcapTee::Tdx, 0), Asker::Trusted)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "not_in_directory");
}

#[tokio::test]
async fn parts_that_the_directory_lacks_are_named_or_fetched() {
    let (directory, clock) = (TempDir::new().unwrap(), TestClock::new());
    write(directory.path(), &Collateral::Snp(amd(SnpProduct::Milan, |_| {})));
    fs::remove_file(directory.path().join("snp-milan.crl")).unwrap();
    let offline = offline(directory.path(), &clock);
    let error = get(&offline, &milan()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no collateral service is configured, and the directory has no CRL of Milan"
    );

    let service = Service::start().await.unwrap();
    let online = || {
        let config = Config {
            directory: Some(directory.path().to_owned()),
            ..config(&service)
        };
        Collaterals::new(config, SimulationRoots::development(), clock.clock()).unwrap()
    };
    service.behave(&Behaviour::Status(503));
    let error = get(&online(), &milan()).await.unwrap_err();
    assert_eq!(error.kind(), "status", "{error}");
    service.behave(&Behaviour::Good);
    let before = service.requests_with("blSPL");
    assert_eq!(get(&online(), &milan()).await, Ok(Freshness::Fresh));
    assert_eq!(
        service.requests_with("blSPL"),
        before,
        "the directory has the certificate"
    );
}

#[tokio::test]
async fn services_are_asked_when_the_directory_is_out_of_date() {
    let (directory, clock) = (TempDir::new().unwrap(), TestClock::new());
    write(
        directory.path(),
        &Collateral::Dcap(platform(|platform| {
            platform.pck_list.next_update = Some(UnixSeconds(NOW + 10));
        })),
    );
    let service = Service::start().await.unwrap();
    let config = Config {
        directory: Some(directory.path().to_owned()),
        ..config(&service)
    };
    let collaterals = Collaterals::new(config, SimulationRoots::development(), clock.clock()).unwrap();
    assert_eq!(get(&collaterals, &sgx()).await, Ok(Freshness::Fresh));
    assert_eq!(service.requests(), Vec::<String>::new());
    clock.advance(11);
    assert_eq!(get(&collaterals, &sgx()).await, Ok(Freshness::Fresh));
    assert_eq!(service.requests().len(), 4);
}

#[test]
fn a_directory_that_is_not_there_ends_the_start() {
    let config = Config {
        directory: Some("/nowhere/at/all".into()),
        ..Config::new(Source::Nothing)
    };
    let started = Collaterals::new(config, SimulationRoots::development(), TestClock::new().clock());
    assert!(matches!(started, Err(StartError::Directory { .. })));
}

#[tokio::test]
async fn real_evidence_is_verified_from_a_directory_alone() {
    let read = |file: &str| fs::read(Path::new(EVIDENCE).join(file)).unwrap();
    let report = hex::decode(read("snp_milan.report.hex").trim_ascii()).unwrap();
    let intel: fn(&'static str) -> Vec<(&'static str, &'static str)> = |file| vec![(file, "any name.json")];
    for (evidence, time, files) in [
        (
            read("sgx_v3.quote"),
            1_750_416_971,
            intel("sgx_v3.collateral.json"),
        ),
        (
            read("tdx_v4.quote"),
            1_750_415_547,
            intel("tdx_v4.collateral.json"),
        ),
        (
            read("tdx_v5_15ex.quote"),
            1_791_504_586,
            intel("tdx_v5_15ex.collateral.json"),
        ),
        (
            report,
            1_700_000_000,
            vec![
                ("snp_milan.vcek.der", "vcek.crt"),
                ("snp_milan.ask_ark.pem", "cert_chain.pem"),
            ],
        ),
    ] {
        let directory = TempDir::new().unwrap();
        for (file, name) in files {
            fs::copy(Path::new(EVIDENCE).join(file), directory.path().join(name)).unwrap();
        }
        let clock = TestClock::new();
        clock.set(time);
        let config = Config {
            directory: Some(directory.path().to_owned()),
            snp_revocation: false,
            ..Config::new(Source::Nothing)
        };
        let collaterals = Collaterals::new(config, ProductionRoots::pinned(), clock.clock()).unwrap();
        let quote = Quote::new(evidence).unwrap();
        let binding = ReportBinding::report_data_itself(quote.unverified_report_data().unwrap().unwrap());
        let verifier = Verifier::new(ProductionRoots::pinned());
        let needed = verifier.collateral_needed(&quote, &binding, clock.now()).unwrap();
        let obtained = collaterals.get(&needed, Asker::Stranger).await.unwrap();
        verifier
            .verify(&quote, &binding, &obtained.collateral, clock.now())
            .unwrap();
        // A year later nothing of Intel's is in force any more.
        if matches!(needed, CollateralNeeded::Dcap(_)) {
            clock.advance(366 * DAY);
            let error = collaterals.get(&needed, Asker::Stranger).await.unwrap_err();
            assert_eq!(error.kind(), "out_of_date");
        }
    }
}

/// Who can put a file into the directory can claim that it lasts longest. It must not displace one that holds.
#[tokio::test]
async fn forged_files_do_not_displace_those_that_hold() {
    let directory = TempDir::new().unwrap();
    write(directory.path(), &Collateral::Dcap(platform(|_| {})));
    write(directory.path(), &Collateral::Snp(amd(SnpProduct::Milan, |_| {})));
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let ending = path.extension().unwrap().to_str().unwrap().to_owned();
        match ending.as_str() {
            "json" => {
                let text = String::from_utf8(bytes).unwrap();
                let later = text.replace(
                    &marblerun_attestation::fakes::UNTIL.to_string(),
                    "2199-12-31T23:59:59Z",
                );
                assert_ne!(later, text);
                bytes = later.into_bytes();
            }
            // The signature is the last thing in it.
            "crl" => *bytes.last_mut().unwrap() ^= 1,
            _ => continue,
        }
        fs::write(directory.path().join(format!("zz.{ending}")), bytes).unwrap();
    }
    let clock = TestClock::new();
    let collaterals = offline(directory.path(), &clock);
    assert_eq!(get(&collaterals, &sgx()).await, Ok(Freshness::Fresh));
    assert_eq!(get(&collaterals, &milan()).await, Ok(Freshness::Fresh));

    // Nothing but forged ones: refused as before.
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let genuine = !path.file_name().unwrap().to_str().unwrap().starts_with("zz");
        if genuine
            && path
                .extension()
                .is_some_and(|ending| ending == "json" || ending == "crl")
        {
            fs::remove_file(path).unwrap();
        }
    }
    let collaterals = offline(directory.path(), &clock);
    assert!(get(&collaterals, &sgx()).await.is_err());
    assert!(get(&collaterals, &milan()).await.is_err());
}
