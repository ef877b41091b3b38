//! Every way in which a service fails has an error of its own, none is kept as collateral, and none ends the next try.

use std::time::{Duration, Instant};

use marblerun_attestation::claims::{SnpProduct, SnpSigningKey};
use marblerun_attestation::collateral::CollateralNeeded;
use marblerun_attestation::fakes::{SnpReportFields, SoftwareTee};
use marblerun_attestation::reason::{CertificateRole, Dated};
use marblerun_attestation::{Quote, Reason, ReportBinding, SimulationRoots, UnixSeconds, Verifier};
use marblerun_collateral::fakes::{Behaviour, Service};
use marblerun_collateral::{Asker, CollateralError, Collaterals, Document, ServiceName};

use super::{DAY, NOW, TestClock, config, milan, setup, sgx};

const INTEL: [Document; 4] = [
    Document::RootCrl,
    Document::PckCrl,
    Document::TcbInfo,
    Document::QeIdentity,
];
const AMD: [Document; 3] = [Document::AmdChain, Document::AmdCrl, Document::Vcek];
const WITH_CHAIN: [Document; 3] = [Document::PckCrl, Document::TcbInfo, Document::QeIdentity];

/// What a service gives as the error while it behaves like this for one document.
async fn fails(service: &Service, document: Document, behaviour: Behaviour) -> CollateralError {
    let needed = if INTEL.contains(&document) { sgx() } else { milan() };
    let clock = TestClock::new();
    let collaterals =
        Collaterals::new(config(service), SimulationRoots::development(), clock.clock()).unwrap();
    service.behave(&Behaviour::Good);
    service.behave_for(document, behaviour.clone());
    let error = collaterals
        .get(&needed, Asker::Trusted)
        .await
        .expect_err(&format!("{document}, {behaviour:?}"));
    // The service recovers: so does the collateral, after a moment.
    service.behave(&Behaviour::Good);
    assert_eq!(
        collaterals.get(&needed, Asker::Trusted).await.unwrap_err(),
        error,
        "the failure is remembered"
    );
    clock.advance(30);
    collaterals.get(&needed, Asker::Trusted).await.unwrap();
    error
}

fn named(document: Document) -> ServiceName {
    if AMD.contains(&document) {
        ServiceName::Kds
    } else {
        ServiceName::Pccs
    }
}

#[tokio::test]
async fn statuses_and_redirects_are_told_apart() {
    let service = Service::start().await.unwrap();
    for document in Document::ALL {
        let at = named(document);
        assert_eq!(
            fails(&service, document, Behaviour::Status(404)).await,
            CollateralError::NotKnown {
                service: at,
                document
            }
        );
        for status in [429, 500, 503, 204, 206] {
            assert_eq!(
                fails(&service, document, Behaviour::Status(status)).await,
                CollateralError::Status {
                    service: at,
                    document,
                    status
                }
            );
        }
        let elsewhere = Service::start().await.unwrap();
        let to = format!("{}/sgx/certification/v4/qe/identity", elsewhere.url());
        assert_eq!(
            fails(&service, document, Behaviour::Redirect(to)).await,
            CollateralError::Redirect {
                service: at,
                document,
                status: 302
            }
        );
        assert_eq!(
            elsewhere.requests(),
            Vec::<String>::new(),
            "nobody was sent elsewhere"
        );
    }
}

#[tokio::test]
async fn services_that_do_not_answer_cost_a_bounded_time() {
    let service = Service::start().await.unwrap();
    for document in Document::ALL {
        for behaviour in [Behaviour::Hang, Behaviour::Stall] {
            let started = Instant::now();
            assert_eq!(
                fails(&service, document, behaviour).await,
                CollateralError::TimedOut {
                    service: named(document),
                    document,
                    after: Duration::from_millis(500)
                }
            );
            assert!(started.elapsed() < Duration::from_secs(5));
        }
    }
    let setup = setup(|_| {}).await;
    setup.service.behave(&Behaviour::Slow(Duration::from_millis(50)));
    setup.collaterals.get(&sgx(), Asker::Trusted).await.unwrap();
}

#[tokio::test]
async fn answers_without_bound_are_cut() {
    let service = Service::start().await.unwrap();
    for document in Document::ALL {
        for behaviour in [Behaviour::Oversize, Behaviour::Endless] {
            assert_eq!(
                fails(&service, document, behaviour).await,
                CollateralError::TooLarge {
                    service: named(document),
                    document,
                    limit: 1024 * 1024
                }
            );
        }
        for behaviour in [Behaviour::HugeHeaders, Behaviour::Cut] {
            let error = fails(&service, document, behaviour).await;
            assert!(
                matches!(&error, CollateralError::Broken { document: broken, .. } if *broken == document),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn documents_that_are_something_else_are_named() {
    let service = Service::start().await.unwrap();
    for document in Document::ALL {
        let error = fails(&service, document, Behaviour::Garbage).await;
        assert!(
            matches!(&error, CollateralError::Malformed { document: named, .. } if *named == document),
            "{document}: {error}"
        );
    }
}

#[tokio::test]
async fn one_flipped_bit_is_found() {
    let service = Service::start().await.unwrap();
    for document in Document::ALL {
        let error = fails(&service, document, Behaviour::Flipped).await;
        assert!(
            matches!(
                &error,
                CollateralError::Malformed { .. } | CollateralError::Refused { .. }
            ),
            "{document}: {error}"
        );
    }
}

#[tokio::test]
async fn issuer_chains_are_asked_for_and_checked() {
    let service = Service::start().await.unwrap();
    for document in WITH_CHAIN {
        for behaviour in [Behaviour::NoIssuerChain, Behaviour::BrokenIssuerChain] {
            let error = fails(&service, document, behaviour).await;
            assert!(
                matches!(&error, CollateralError::IssuerChain { document: named, .. } if *named == document),
                "{document}: {error}"
            );
        }
        let error = fails(&service, document, Behaviour::ForeignIssuerChain).await;
        let CollateralError::Refused { refused, .. } = &error else {
            panic!("{document}: {error}")
        };
        assert!(matches!(*refused.reason, Reason::AnotherRoot { .. }), "{error}");
    }
}

#[tokio::test]
async fn documents_out_of_date_are_not_taken() {
    let setup = setup(|config| config.grace = Duration::from_secs(10 * DAY)).await;
    let end = UnixSeconds(NOW - 1);
    setup
        .service
        .change_intel(move |platform| platform.root_list.next_update = Some(end));
    setup
        .service
        .change_amd(move |platform| platform.list.next_update = Some(end));
    for (needed, origin) in [(sgx(), "pccs"), (milan(), "kds")] {
        assert_eq!(
            setup.collaterals.get(&needed, Asker::Trusted).await.unwrap_err(),
            CollateralError::OutOfDate { origin, since: end },
            "the grace is for what was in force when it came"
        );
    }
}

#[tokio::test]
async fn documents_of_the_future_of_others_and_for_others_are_not_taken() {
    async fn refused(needed: CollateralNeeded, change: impl FnOnce(&Service)) -> Reason {
        let setup = setup(|_| {}).await;
        change(&setup.service);
        match setup.collaterals.get(&needed, Asker::Trusted).await {
            Err(CollateralError::Refused { refused, .. }) => *refused.reason,
            other => panic!("{other:?}"),
        }
    }
    let reason = refused(sgx(), |service| {
        service.change_intel(|platform| platform.pck_list.this_update = UnixSeconds(NOW + 1));
    })
    .await;
    assert!(matches!(reason, Reason::NotYetValid { .. }), "{reason}");

    let reason = refused(sgx(), |service| {
        service.change_intel(|platform| {
            platform.tcb_info["fmspc"] = "00000000ffff".into();
        });
    })
    .await;
    assert!(matches!(reason, Reason::Fmspc { .. }), "{reason}");

    let reason = refused(sgx(), |service| {
        service.change_intel(|platform| platform.tcb_info["id"] = "TDX".into());
    })
    .await;
    assert!(
        matches!(
            reason,
            Reason::CollateralKind {
                what: Dated::TcbInfo,
                ..
            }
        ),
        "{reason}"
    );

    // Revoked is who signed it, not a platform that it speaks of.
    let reason = refused(sgx(), |service| {
        service.change_intel(|platform| {
            platform.root_list.revoked = vec![platform.signer.serial.clone()];
        });
    })
    .await;
    assert!(
        matches!(
            reason,
            Reason::Revoked {
                certificate: CertificateRole::TcbInfoSigner,
                ..
            }
        ),
        "{reason}"
    );

    let reason = refused(milan(), |service| {
        service.change_amd(|platform| platform.hardware_id = Some(vec![7; 64]));
    })
    .await;
    assert!(matches!(reason, Reason::ChipId { .. }), "{reason}");

    let reason = refused(milan(), |service| {
        service.change_amd(|platform| platform.tcb.snp = 1);
    })
    .await;
    assert!(matches!(reason, Reason::EndorsedTcb { .. }), "{reason}");
}

#[tokio::test]
async fn what_says_that_a_certificate_is_revoked_is_kept_and_refuses_the_evidence() {
    let setup = setup(|_| {}).await;
    setup.service.change_amd(|platform| {
        platform.list.revoked = vec![platform.intermediate.serial.clone()];
    });
    let binding = ReportBinding::certificate(b"certificate");
    let platform = SoftwareTee::development()
        .unwrap()
        .snp(SnpProduct::Milan, SnpSigningKey::Vcek);
    let report = SnpReportFields::new(&platform, SnpSigningKey::Vcek, &binding)
        .sign(&platform)
        .unwrap();
    let obtained = setup.collaterals.get(&milan(), Asker::Stranger).await.unwrap();
    let refused = Verifier::new(SimulationRoots::development())
        .verify(
            &Quote::new(report).unwrap(),
            &binding,
            &obtained.collateral,
            UnixSeconds(NOW),
        )
        .unwrap_err();
    assert!(matches!(*refused.reason, Reason::Revoked { .. }), "{refused}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_by_its_address() {
    let setup = setup(|_| {}).await;
    let address = setup.service.url();
    drop(setup.service);
    let error = loop {
        // The listener closes when its task has ended.
        match setup.collaterals.get(&sgx(), Asker::Trusted).await {
            Err(error @ CollateralError::Unreachable { .. }) => break error,
            _ => setup.clock.advance(30),
        }
    };
    let host = format!("127.0.0.1:{}", address.port());
    assert!(error.to_string().contains(&host), "{error}");
}

#[tokio::test]
async fn only_reasons_that_lie_in_the_evidence_are_for_strangers() {
    let service = Service::start().await.unwrap();
    for document in Document::ALL {
        let error = fails(&service, document, Behaviour::Status(404)).await;
        assert!(!error.is_about_evidence(), "{error}");
    }
    assert!(CollateralError::MaskedChip.is_about_evidence());
    assert!(!CollateralError::TooManyNewPlatforms.is_about_evidence());
}
