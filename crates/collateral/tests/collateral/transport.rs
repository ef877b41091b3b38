//! Who is asked: TLS under the roots that were given, and HTTP to this machine alone.

use std::sync::Arc;
use std::time::Duration;

use marblerun_attestation::SimulationRoots;
use marblerun_attestation::fakes::SoftwareTee;
use marblerun_collateral::fakes::Service;
use marblerun_collateral::{
    Asker, CollateralError, Collaterals, Config, Limits, Services, Source, StartError, Trust,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{TestClock, sgx};

struct Tls {
    service: Service,
    root: CertificateDer<'static>,
}

async fn tls(name: &str) -> Tls {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    Tls {
        service: Service::start_with(SoftwareTee::development().unwrap(), Some(Arc::new(config)))
            .await
            .unwrap(),
        root: issuer.der().clone(),
    }
}

async fn get(services: Services) -> Result<(), CollateralError> {
    let config = Config {
        limits: Limits {
            timeout: Duration::from_secs(5),
            ..Limits::default()
        },
        ..Config::new(Source::Services(Box::new(services)))
    };
    let collaterals =
        Collaterals::new(config, SimulationRoots::development(), TestClock::new().clock()).unwrap();
    collaterals.get(&sgx(), Asker::Trusted).await.map(|_| ())
}

#[tokio::test]
async fn a_service_under_the_given_root_is_asked_and_no_other() {
    let good = tls("localhost").await;
    let with = |root: &CertificateDer<'static>| Services {
        trust: Trust::Only(vec![root.clone()]),
        ..good.service.services()
    };
    get(with(&good.root)).await.unwrap();
    let asked = good.service.requests().len();

    let other = tls("localhost").await;
    let error = get(with(&other.root)).await.unwrap_err();
    assert!(matches!(error, CollateralError::Tls { .. }), "{error}");
    // The service is under no public root.
    let error = get(good.service.services()).await.unwrap_err();
    assert!(matches!(error, CollateralError::Tls { .. }), "{error}");
    assert_eq!(good.service.requests().len(), asked, "nothing was asked of it");
}

#[tokio::test]
async fn a_service_of_another_name_is_not_asked() {
    let tls = tls("pccs.example").await;
    let error = get(Services {
        trust: Trust::Only(vec![tls.root.clone()]),
        ..tls.service.services()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, CollateralError::Tls { .. }), "{error}");
    assert_eq!(tls.service.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn tls_is_not_spoken_with_a_service_that_does_not() {
    let service = Service::start().await.unwrap();
    let mut services = service.services();
    services.pccs = format!("https://127.0.0.1:{}", service.url().port())
        .parse()
        .unwrap();
    let error = get(services).await.unwrap_err();
    assert!(matches!(error, CollateralError::Tls { .. }), "{error}");
}

#[test]
fn http_to_another_host_is_refused_unless_it_is_asked_for() {
    let start = |services: Services| {
        Collaterals::new(
            Config::new(Source::Services(Box::new(services))),
            SimulationRoots::development(),
            TestClock::new().clock(),
        )
        .map(|_| ())
    };
    let far = || "http://pccs.example".parse().unwrap();
    for services in [
        Services {
            pccs: far(),
            ..Services::default()
        },
        Services {
            kds: far(),
            ..Services::default()
        },
        Services {
            root_crl: Some(far()),
            ..Services::default()
        },
    ] {
        let error = start(services.clone()).unwrap_err();
        assert!(matches!(error, StartError::InsecureUrl { .. }), "{error}");
        start(Services {
            insecure_http: true,
            ..services
        })
        .unwrap();
    }
    start(Services {
        pccs: "http://[::1]:8081".parse().unwrap(),
        ..Services::default()
    })
    .unwrap();
}

#[test]
fn roots_that_are_no_certificates_are_refused_at_the_start() {
    let services = Services {
        trust: Trust::Only(vec![CertificateDer::from(b"none".to_vec())]),
        ..Services::default()
    };
    let started = Collaterals::new(
        Config::new(Source::Services(Box::new(services))),
        SimulationRoots::development(),
        TestClock::new().clock(),
    );
    assert!(matches!(started, Err(StartError::Trust { .. })));
}

#[tokio::test]
async fn the_list_of_the_root_is_taken_from_its_distribution_point_where_that_is_given() {
    let (service, distribution) = (Service::start().await.unwrap(), Service::start().await.unwrap());
    let point = format!("{}/IntelSGXRootCA.der", distribution.url());
    get(Services {
        root_crl: Some(point.parse().unwrap()),
        ..service.services()
    })
    .await
    .unwrap();
    assert_eq!(distribution.requests(), ["/IntelSGXRootCA.der"]);
    assert_eq!(service.requests_with("rootcacrl"), 0);
}
