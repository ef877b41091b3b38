//! What is kept, for how long, and who may have something fetched.

use std::time::Duration;

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::{CollateralNeeded, DcapTee};
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SoftwareTee};
use marblerun_attestation::{Quote, ReportBinding, SimulationRoots, UnixSeconds, Verifier};
use marblerun_collateral::fakes::{Behaviour, Service};
use marblerun_collateral::{Asker, CollateralError, Freshness};

use super::{DAY, NOW, Setup, chip, intel, milan, setup, sgx, snp_needed};

const TCB: &str = "/sgx/certification/v4/tcb";

/// Everything is made at `NOW` or later and lasts 30 days, as Intel's does.
fn thirty_days(service: &Service, from: u64) {
    let end = UnixSeconds(from + 30 * DAY);
    service.change_intel(move |platform| {
        platform.root_list.next_update = Some(end);
        platform.pck_list.next_update = Some(end);
        for document in [&mut platform.tcb_info, &mut platform.qe_identity] {
            document["nextUpdate"] = end.to_string().into();
        }
    });
    service.change_amd(move |platform| platform.list.next_update = Some(end));
}

async fn get(setup: &Setup, needed: &CollateralNeeded) -> Result<Freshness, CollateralError> {
    setup
        .collaterals
        .get(needed, Asker::Stranger)
        .await
        .map(|obtained| obtained.freshness)
}

#[tokio::test]
async fn what_is_kept_is_not_asked_for_again() {
    let setup = setup(|_| {}).await;
    let first = setup.collaterals.get(&sgx(), Asker::Stranger).await.unwrap();
    let requests = setup.service.requests().len();
    assert_eq!(requests, 4);
    setup.service.behave(&Behaviour::Status(500));
    for _ in 0..100 {
        let again = setup.collaterals.get(&sgx(), Asker::Stranger).await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&first.collateral, &again.collateral));
    }
    assert_eq!(setup.service.requests().len(), requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_who_wait_cause_one_fetch() {
    for needed in [sgx(), milan()] {
        for behaviour in [
            Behaviour::Slow(Duration::from_millis(100)),
            Behaviour::Status(500),
        ] {
            let setup = setup(|_| {}).await;
            setup.service.behave(&behaviour);
            let good = matches!(behaviour, Behaviour::Slow(_));
            let waiting: Vec<_> = (0..100)
                .map(|_| {
                    let (collaterals, needed) = (setup.collaterals.clone(), needed.clone());
                    tokio::spawn(async move { collaterals.get(&needed, Asker::Stranger).await })
                })
                .collect();
            for one in waiting {
                assert_eq!(one.await.unwrap().is_ok(), good);
            }
            let requests = setup.service.requests();
            let distinct: std::collections::BTreeSet<&String> = requests.iter().collect();
            assert_eq!(requests.len(), distinct.len(), "{requests:#?}");
        }
    }
}

#[tokio::test]
async fn a_fetch_goes_on_when_nobody_waits_for_it_any_more() {
    let setup = setup(|_| {}).await;
    setup.service.behave(&Behaviour::Slow(Duration::from_millis(100)));
    let needed = sgx();
    let asked = setup.collaterals.get(&needed, Asker::Stranger);
    assert!(
        tokio::time::timeout(Duration::from_millis(20), asked)
            .await
            .is_err()
    );
    setup.collaterals.get(&sgx(), Asker::Stranger).await.unwrap();
    assert_eq!(setup.service.requests_with(TCB), 1);
}

#[tokio::test]
async fn failures_are_remembered_for_a_moment() {
    let setup = setup(|_| {}).await;
    setup.service.behave(&Behaviour::Status(503));
    for _ in 0..50 {
        assert!(get(&setup, &sgx()).await.is_err());
    }
    assert_eq!(setup.service.requests_with(TCB), 1);
    setup.clock.advance(29);
    assert!(get(&setup, &sgx()).await.is_err());
    assert_eq!(setup.service.requests_with(TCB), 1);
    setup.clock.advance(1);
    setup.service.behave(&Behaviour::Good);
    assert_eq!(get(&setup, &sgx()).await, Ok(Freshness::Fresh));
    assert_eq!(setup.service.requests_with(TCB), 2);
}

#[tokio::test]
async fn strangers_have_one_new_platform_a_second_of_each_manufacturer() {
    let setup = setup(|_| {}).await;
    assert!(get(&setup, &chip(0)).await.is_ok());
    for number in 1..20 {
        assert_eq!(
            get(&setup, &chip(number)).await,
            Err(CollateralError::TooManyNewPlatforms)
        );
    }
    assert_eq!(setup.service.requests_with("blSPL"), 1);
    // Reports that anybody can make up do not keep platforms of Intel waiting.
    assert!(get(&setup, &intel(DcapTee::Sgx, 0)).await.is_ok());
    assert_eq!(
        get(&setup, &intel(DcapTee::Tdx, 0)).await,
        Err(CollateralError::TooManyNewPlatforms)
    );
    // What is known is served all the same, and whoever runs the Coordinator is not held up.
    assert!(get(&setup, &chip(0)).await.is_ok());
    setup.collaterals.get(&chip(1), Asker::Trusted).await.unwrap();
    assert!(get(&setup, &chip(1)).await.is_ok());
    setup.clock.advance(1);
    assert!(get(&setup, &chip(2)).await.is_ok());
    assert_eq!(
        get(&setup, &chip(3)).await,
        Err(CollateralError::TooManyNewPlatforms)
    );
    assert_eq!(setup.collaterals.stats().turned_away, 21);
    // A clock that goes back locks nobody out.
    setup.clock.set(NOW - 100);
    assert!(get(&setup, &chip(4)).await.is_ok());
}

/// Reports with chips made up, as fast as one can send them.
#[tokio::test]
async fn one_stranger_does_not_take_the_turns_of_others() {
    let setup = setup(|_| {}).await;
    let (greedy, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let mut made_up = 0;
    let mut forge = async || {
        for _ in 0..20 {
            made_up += 1;
            let mut needed = snp_needed(SnpProduct::Milan, SnpSigningKey::Vcek);
            needed.chip_id[..2].copy_from_slice(&[0xAA, made_up]);
            let _ = setup
                .collaterals
                .get(&CollateralNeeded::Snp(needed), Asker::Peer(greedy))
                .await;
        }
    };
    forge().await;
    let turned_away = setup.collaterals.get(&chip(0), Asker::Peer(other)).await;
    assert_eq!(turned_away.unwrap_err(), CollateralError::TooManyNewPlatforms);
    // The other one tries again when the next second has long begun.
    setup.clock.advance(1);
    forge().await;
    setup.collaterals.get(&chip(0), Asker::Peer(other)).await.unwrap();
    assert_eq!(setup.service.requests_with("blSPL"), 2);
}

#[tokio::test]
async fn a_known_failure_does_not_use_up_the_second() {
    let setup = setup(|_| {}).await;
    setup.service.behave(&Behaviour::Status(404));
    assert!(get(&setup, &chip(0)).await.is_err());
    setup.service.behave(&Behaviour::Good);
    setup.clock.advance(1);
    assert!(matches!(
        get(&setup, &chip(0)).await,
        Err(CollateralError::NotKnown { .. })
    ));
    assert!(get(&setup, &chip(1)).await.is_ok());
}

#[tokio::test]
async fn a_bounded_number_is_kept_and_what_is_used_stays() {
    let setup = setup(|config| config.limits.entries = 4).await;
    for number in 0..20 {
        setup.clock.advance(1);
        get(&setup, &intel(DcapTee::Sgx, number)).await.unwrap();
        get(&setup, &intel(DcapTee::Sgx, 0)).await.unwrap();
    }
    let stats = setup.collaterals.stats();
    assert_eq!(stats.held.iter().map(|held| held.pieces).sum::<usize>(), 4);
    assert_eq!(setup.service.requests_with("fmspc=506070000000"), 1);
    assert_eq!(setup.service.requests_with("tcb?fmspc"), 20);
    setup.clock.advance(1);
    get(&setup, &intel(DcapTee::Sgx, 3)).await.unwrap();
    assert_eq!(
        setup.service.requests_with("tcb?fmspc"),
        21,
        "planted: it had to go"
    );
}

#[tokio::test]
async fn a_bounded_number_of_failures_is_remembered() {
    let setup = setup(|config| config.limits.failures = 4).await;
    setup.service.behave(&Behaviour::Status(404));
    for number in 0..20 {
        assert!(
            setup
                .collaterals
                .get(&chip(number), Asker::Trusted)
                .await
                .is_err()
        );
    }
    assert_eq!(setup.collaterals.stats().failures, 4);
}

#[tokio::test]
async fn a_bounded_number_is_fetched_at_the_same_time() {
    let setup = setup(|config| config.limits.fetches = 3).await;
    setup.service.behave(&Behaviour::Hang);
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..10 {
        let collaterals = setup.collaterals.clone();
        waiting.spawn(async move {
            collaterals
                .get(&intel(DcapTee::Sgx, number), Asker::Trusted)
                .await
        });
    }
    let outcomes = waiting.join_all().await;
    let kinds: Vec<&str> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().unwrap_err().kind())
        .collect();
    assert_eq!(
        kinds.iter().filter(|kind| **kind == "busy").count(),
        7,
        "{kinds:?}"
    );
    assert_eq!(
        kinds.iter().filter(|kind| **kind == "timed_out").count(),
        3,
        "{kinds:?}"
    );
}

#[tokio::test]
async fn what_is_due_is_fetched_anew_in_the_background_and_never_waited_for() {
    let setup = setup(|config| config.limits.refresh_after = Duration::from_secs(1000 * DAY)).await;
    thirty_days(&setup.service, NOW);
    get(&setup, &sgx()).await.unwrap();
    get(&setup, &milan()).await.unwrap();

    setup.clock.set(NOW + 21 * DAY);
    setup.collaterals.refresh_due().await;
    assert_eq!(setup.service.requests_with(TCB), 1, "not before 72 % of its life");

    thirty_days(&setup.service, NOW + 24 * DAY);
    setup.clock.set(NOW + 24 * DAY);
    setup.collaterals.refresh_due().await;
    assert_eq!(setup.service.requests_with(TCB), 2, "at 80 % of its life");
    assert_eq!(setup.service.requests_with("/vcek/v1/Milan/crl"), 2);
    assert_eq!(
        setup.service.requests_with("blSPL"),
        1,
        "endorsement keys do not change"
    );

    setup.service.behave(&Behaviour::Status(500));
    setup.clock.set(NOW + 31 * DAY);
    assert_eq!(get(&setup, &sgx()).await, Ok(Freshness::Fresh));
    assert_eq!(setup.service.requests_with(TCB), 2);
}

#[tokio::test]
async fn collateral_is_at_most_a_day_behind_while_the_service_answers() {
    let setup = setup(|_| {}).await;
    thirty_days(&setup.service, NOW);
    get(&setup, &sgx()).await.unwrap();
    for day in 1..=5 {
        setup.clock.set(NOW + day * DAY);
        setup.collaterals.refresh_due().await;
        assert_eq!(setup.service.requests_with(TCB) as u64, day + 1);
    }
}

#[tokio::test]
async fn a_refresh_that_fails_is_tried_again_and_hurts_nobody() {
    let setup = setup(|_| {}).await;
    thirty_days(&setup.service, NOW);
    get(&setup, &sgx()).await.unwrap();
    setup.service.behave(&Behaviour::Status(500));
    setup.clock.set(NOW + 2 * DAY);
    setup.collaterals.refresh_due().await;
    setup.collaterals.refresh_due().await;
    assert_eq!(setup.service.requests_with(TCB), 2, "not at once");
    assert_eq!(get(&setup, &sgx()).await, Ok(Freshness::Fresh));
    setup.clock.advance(60);
    setup.service.behave(&Behaviour::Good);
    setup.collaterals.refresh_due().await;
    assert_eq!(setup.service.requests_with(TCB), 3);
}

#[tokio::test]
async fn a_service_cannot_go_back_to_what_ends_sooner() {
    let setup = setup(|_| {}).await;
    thirty_days(&setup.service, NOW);
    let first = setup.collaterals.get(&sgx(), Asker::Stranger).await.unwrap();
    thirty_days(&setup.service, NOW - 5 * DAY);
    setup.clock.set(NOW + 2 * DAY);
    setup.collaterals.refresh_due().await;
    let again = setup.collaterals.get(&sgx(), Asker::Stranger).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&first.collateral, &again.collateral));
    let fetches = setup.collaterals.stats().fetches;
    assert!(
        fetches.iter().any(|fetch| fetch.outcome == "older"),
        "{fetches:?}"
    );
}

#[tokio::test]
async fn in_an_outage_collateral_out_of_date_is_used_within_the_grace_and_said() {
    for (needed, grace) in [(sgx(), 3 * DAY), (milan(), 3 * DAY), (sgx(), 0), (milan(), 0)] {
        let setup = setup(|config| config.grace = Duration::from_secs(grace)).await;
        thirty_days(&setup.service, NOW);
        let end = NOW + 30 * DAY;
        get(&setup, &needed).await.unwrap();
        setup.service.behave(&Behaviour::Status(503));

        setup.clock.set(end);
        assert_eq!(get(&setup, &needed).await, Ok(Freshness::Fresh));
        setup.clock.set(end + grace);
        if grace > 0 {
            let stale = Ok(Freshness::Stale {
                since: UnixSeconds(end),
            });
            assert_eq!(get(&setup, &needed).await, stale);
            let requests = setup.service.requests().len();
            assert_eq!(get(&setup, &needed).await, stale);
            assert_eq!(
                setup.service.requests().len(),
                requests,
                "the outage is remembered"
            );
            assert_eq!(setup.collaterals.stats().answered_stale, 2);
        }
        setup.clock.set(end + grace + 1);
        let error = get(&setup, &needed).await.unwrap_err();
        assert_eq!(error.kind(), "status");

        // The outage ends.
        setup.service.behave(&Behaviour::Good);
        thirty_days(&setup.service, end);
        setup.clock.advance(30);
        assert_eq!(get(&setup, &needed).await, Ok(Freshness::Fresh));
    }
}

#[tokio::test]
async fn a_certificate_has_no_grace() {
    let setup = setup(|config| config.grace = Duration::from_secs(1000 * DAY)).await;
    setup
        .service
        .change_amd(|platform| platform.endorsement.not_after = UnixSeconds(NOW + DAY));
    get(&setup, &milan()).await.unwrap();
    setup.service.behave(&Behaviour::Status(503));
    setup.clock.set(NOW + DAY);
    assert_eq!(get(&setup, &milan()).await, Ok(Freshness::Fresh));
    setup.clock.advance(1);
    assert_eq!(get(&setup, &milan()).await.unwrap_err().kind(), "status");
    setup.service.behave(&Behaviour::Good);
    setup.service.change_amd(|_| {});
    setup.clock.advance(30);
    assert_eq!(get(&setup, &milan()).await, Ok(Freshness::Fresh));
}

#[tokio::test]
async fn evidence_is_verified_with_collateral_out_of_date_by_the_policy_alone() {
    let setup = setup(|config| config.grace = Duration::from_secs(DAY)).await;
    thirty_days(&setup.service, NOW);
    let binding = ReportBinding::certificate(b"certificate");
    let evidence = QuoteFields::sgx(EnclaveFields::new(&binding))
        .sign(&SoftwareTee::development().unwrap().intel(DcapTee::Sgx))
        .unwrap();
    let quote = Quote::new(evidence).unwrap();
    get(&setup, &sgx()).await.unwrap();
    setup.service.behave(&Behaviour::Hang);
    setup.clock.set(NOW + 30 * DAY + 60);
    let obtained = setup.collaterals.get(&sgx(), Asker::Stranger).await.unwrap();
    assert!(matches!(obtained.freshness, Freshness::Stale { .. }));
    let verifier = Verifier::new(SimulationRoots::development());
    let (collateral, now) = (&obtained.collateral, setup.clock.now());
    verifier
        .verify_by_policy(&quote, &binding, collateral, now, setup.collaterals.policy())
        .unwrap();
    assert!(verifier.verify(&quote, &binding, collateral, now).is_err());
}

#[tokio::test]
async fn numbers_tell_what_is_held_and_how_fetching_went() {
    let setup = setup(|_| {}).await;
    thirty_days(&setup.service, NOW);
    get(&setup, &sgx()).await.unwrap();
    get(&setup, &milan()).await.unwrap();
    setup.service.behave(&Behaviour::Status(500));
    setup.clock.advance(100);
    assert!(get(&setup, &intel(DcapTee::Tdx, 0)).await.is_err());
    let stats = setup.collaterals.stats();
    let held: Vec<_> = stats
        .held
        .iter()
        .map(|held| (held.tee, held.pieces, held.stale, held.oldest))
        .collect();
    assert_eq!(held, [("sgx", 1, 0, 100), ("snp", 2, 0, 100)]);
    assert_eq!(stats.held[0].next_update, Some(UnixSeconds(NOW + 30 * DAY)));
    let fetches: Vec<_> = stats
        .fetches
        .iter()
        .map(|fetch| (fetch.origin, fetch.outcome, fetch.count))
        .collect();
    assert_eq!(
        fetches,
        [("kds", "ok", 2), ("pccs", "ok", 1), ("pccs", "status", 1)]
    );
    assert_eq!((stats.failures, stats.fetching), (1, 0));
    setup.clock.set(NOW + 31 * DAY);
    let stats = setup.collaterals.stats();
    assert_eq!(stats.held.iter().map(|held| held.stale).sum::<usize>(), 2);
}
