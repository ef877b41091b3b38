//! Collateral through the public doors, with services on loopback that fail in every way.

#![cfg(test)]

mod cache;
mod directory;
mod failures;
mod happy;
mod shortfall;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{CollateralNeeded, DcapNeeded, DcapTee, PckAuthority, SnpNeeded};
use marblerun_attestation::fakes::{SnpReportFields, SoftwareTee};
use marblerun_attestation::{ReportBinding, SimulationRoots, UnixSeconds};
use marblerun_collateral::fakes::Service;
use marblerun_collateral::{Clock, Collaterals, Config, Limits, Source};

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;
const DAY: u64 = 86_400;

/// A clock that tests put where they want it.
#[derive(Clone)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW)))
    }

    fn clock(&self) -> Clock {
        let time = Arc::clone(&self.0);
        Arc::new(move || UnixSeconds(time.load(Ordering::SeqCst)))
    }

    fn set(&self, time: u64) {
        self.0.store(time, Ordering::SeqCst);
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::SeqCst))
    }
}

/// A service, and collateral from it.
struct Setup {
    service: Service,
    clock: TestClock,
    collaterals: Collaterals,
}

async fn setup(change: impl FnOnce(&mut Config)) -> Setup {
    let service = Service::start().await.unwrap();
    let clock = TestClock::new();
    let mut config = config(&service);
    change(&mut config);
    let collaterals = Collaterals::new(config, SimulationRoots::development(), clock.clock()).unwrap();
    Setup {
        service,
        clock,
        collaterals,
    }
}

fn config(service: &Service) -> Config {
    Config {
        limits: Limits {
            timeout: Duration::from_millis(500),
            ..Limits::default()
        },
        ..Config::new(Source::Services(Box::new(service.services())))
    }
}

/// A platform of Intel; the service knows all.
fn intel(tee: DcapTee, number: u8) -> CollateralNeeded {
    CollateralNeeded::Dcap(DcapNeeded {
        tee,
        fmspc: [0x50, 0x60, 0x70, 0, 0, number],
        authority: PckAuthority::Platform,
    })
}

fn sgx() -> CollateralNeeded {
    intel(DcapTee::Sgx, 0)
}

fn snp_needed(product: SnpProduct, signing_key: SnpSigningKey) -> SnpNeeded {
    let platform = SoftwareTee::development().unwrap().snp(product, signing_key);
    let report = SnpReportFields::new(&platform, signing_key, &ReportBinding::certificate(b""));
    SnpNeeded {
        product: Some(product),
        signing_key,
        chip_id: report.chip_id,
        reported_tcb: report.reported_tcb,
        endorsement_key_present: false,
        intermediate_present: false,
    }
}

fn milan() -> CollateralNeeded {
    CollateralNeeded::Snp(snp_needed(SnpProduct::Milan, SnpSigningKey::Vcek))
}

/// Another chip of Milan.
fn chip(number: u8) -> CollateralNeeded {
    let mut needed = snp_needed(SnpProduct::Milan, SnpSigningKey::Vcek);
    needed.chip_id[0] = number;
    CollateralNeeded::Snp(needed)
}
