//! A Coordinator outside simulation, in a tree of files that behaves as Gramine's: what it proves, what it seals, whom it
//! refuses. Its quotes come from a software TEE that nobody knows, which stands for the enclave.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marblerun_attestation::collateral::DcapTee;
use marblerun_attestation::fakes::{EnclaveFields, QuoteFields, SoftwareTee};
use marblerun_attestation::header::OpenEnclaveHeader;
use marblerun_attestation::{Collateral, Quote, ReportBinding, UnixSeconds, Verifier};
use marblerun_coordinator::assemble::{self, Running, StartError};
use marblerun_coordinator::config::{self, Config, Request};
use marblerun_coordinator::opening::OpeningError;
use marblerun_coordinator::store::StoreError;
use marblerun_wire::marble::{ActivationReq, MarbleClient};
use serde_json::Value;
use tonic::Code;

use crate::support::program::{csr, uuid};
use crate::support::{ClientIdentity, ask, client_config, connect_with};

/// Makes the files of an enclave and answers for its quoting: whoever opens `quote` reads one over what is in
/// `user_report_data`.
fn enclave(root: &Path, tee: SoftwareTee) {
    let attestation = root.join("dev/attestation");
    std::fs::create_dir_all(attestation.join("keys")).unwrap();
    std::fs::write(attestation.join("keys/_sgx_mrsigner"), [1; 16]).unwrap();
    std::fs::write(attestation.join("keys/_sgx_mrenclave"), [2; 16]).unwrap();
    std::fs::write(attestation.join("attestation_type"), "dcap").unwrap();
    std::fs::write(attestation.join("user_report_data"), "").unwrap();
    let quote = attestation.join("quote");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &quote,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    std::thread::spawn(move || {
        loop {
            // Opens when there is a reader, and not before.
            let Ok(mut pipe) = std::fs::OpenOptions::new().write(true).open(&quote) else {
                return;
            };
            let mut fields = EnclaveFields::new(&ReportBinding::report_data_itself([0; 64]));
            let data = std::fs::read(attestation.join("user_report_data")).unwrap();
            fields.report_data[..data.len()].copy_from_slice(&data);
            let made = QuoteFields::sgx(fields).sign(&tee.intel(DcapTee::Sgx)).unwrap();
            pipe.write_all(&made).unwrap();
            drop(pipe);
            // The next reader is another one.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
}

fn config(root: &Path, state: &Path) -> Box<Config> {
    let arguments = [
        "marblerun-coordinator",
        "--mesh-addr=127.0.0.1:0",
        "--client-addr=127.0.0.1:0",
        "--seal-dir",
        state.to_str().unwrap(),
    ];
    let Request::Run(mut config) = config::load(arguments, &BTreeMap::new()).unwrap() else {
        panic!("expected a configuration");
    };
    config.root = root.to_owned();
    config
}

/// Starts a Coordinator in this process. The lock of a state that was in use a moment ago may still be held by a program
/// that another test is just starting, which has a copy of every open file until it runs.
async fn start_coordinator(config: &Config) -> Running {
    for _ in 0..100 {
        match assemble::start(config).await {
            Err(StartError::Opening(OpeningError::Store(StoreError::InUse { .. }))) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            started => return started.unwrap_or_else(|error| panic!("{error}")),
        }
    }
    panic!("the state is in use for five seconds");
}

async fn json(running: &Running, method: &str, path: &str, body: String) -> (u16, Value) {
    let (status, _, body) = ask(running.client, None, method, path, body).await;
    (status.as_u16(), serde_json::from_slice(&body).unwrap())
}

async fn activate(running: &Running, evidence: impl FnOnce(&[u8]) -> Vec<u8>) -> tonic::Status {
    let identity = ClientIdentity::self_signed();
    let request = ActivationReq {
        quote: evidence(&identity.certificate),
        csr: csr(),
        marble_type: "plain".to_owned(),
        uuid: uuid(),
    };
    let config = std::sync::Arc::new(client_config(Some(&identity), &["h2"]));
    let mesh = running.mesh;
    let connector = tower::service_fn(move |_: http::Uri| {
        let config = std::sync::Arc::clone(&config);
        async move { connect_with(mesh, config).await.map(hyper_util::rt::TokioIo::new) }
    });
    let channel = tonic::transport::Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .unwrap();
    MarbleClient::new(channel).activate(request).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_proves_itself_seals_with_the_enclave_s_key_and_takes_no_simulated_evidence() {
    let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tee = SoftwareTee::generate().unwrap();
    enclave(root.path(), tee.clone());
    let running = start_coordinator(&config(root.path(), state.path())).await;

    let verifier = Verifier::new(tee.roots().unwrap());
    let collateral = Collateral::Dcap(tee.intel(DcapTee::Sgx).collateral().unwrap());
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = UnixSeconds(since_epoch.unwrap().as_secs());
    let (code, reply) = json(&running, "GET", "/api/v2/quote?nonce=bm9uY2U", String::new()).await;
    assert_eq!(code, 200, "{reply}");
    let quote = STANDARD.decode(reply["data"]["quote"].as_str().unwrap()).unwrap();
    assert!(
        OpenEnclaveHeader::strip(&quote).unwrap().is_some(),
        "behind the Open Enclave header"
    );
    let root_certificate =
        x509_parser::pem::Pem::iter_from_buffer(reply["data"]["cert"].as_str().unwrap().as_bytes())
            .last()
            .unwrap()
            .unwrap()
            .contents;
    let binding = ReportBinding::certificate_and_nonce(&root_certificate, b"nonce");
    verifier
        .verify(&Quote::new(quote).unwrap(), &binding, &collateral, now)
        .unwrap();

    let manifest = crate::support::program::manifest().to_string();
    let (code, reply) = json(&running, "POST", "/manifest", manifest).await;
    assert_eq!(code, 200, "{reply}");
    assert!(!state.path().join("simulation_seal_key").exists());

    // No evidence, and evidence of the software TEE that everybody knows.
    let refused = activate(&running, |_| Vec::new()).await;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(
        refused.message().contains("expected evidence, found none"),
        "{refused}"
    );
    let development = SoftwareTee::development().unwrap();
    let refused = activate(&running, |certificate| {
        let fields = EnclaveFields::new(&ReportBinding::certificate(certificate));
        QuoteFields::sgx(fields)
            .sign(&development.intel(DcapTee::Sgx))
            .unwrap()
    })
    .await;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(
        refused.message().contains("step 3, ") && refused.message().contains("pinned root"),
        "{refused}"
    );
    running.stop().await;

    // The same enclave opens the state again, another one does not.
    let running = start_coordinator(&config(root.path(), state.path())).await;
    let (_, reply) = json(&running, "GET", "/api/v2/status", String::new()).await;
    assert_eq!(reply["data"]["code"], 3, "{reply}");
    running.stop().await;
    std::fs::write(root.path().join("dev/attestation/keys/_sgx_mrsigner"), [9; 16]).unwrap();
    let running = start_coordinator(&config(root.path(), state.path())).await;
    let (_, reply) = json(&running, "GET", "/api/v2/status", String::new()).await;
    assert_eq!(reply["data"]["code"], 1, "{reply}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_evidence_about_itself_it_does_not_start_and_leaves_nothing_behind() {
    let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let attestation = root.path().join("dev/attestation");
    std::fs::create_dir_all(attestation.join("keys")).unwrap();
    std::fs::write(attestation.join("keys/_sgx_mrsigner"), [1; 16]).unwrap();
    std::fs::write(attestation.join("user_report_data"), "").unwrap();
    std::fs::write(attestation.join("quote"), [0; 100]).unwrap();
    let refused = assemble::start(&config(root.path(), state.path()))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(refused, StartError::Opening(_) | StartError::Tee(_)),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .contains("gives no evidence about this Coordinator"),
        "{refused}"
    );
    let sealed: Vec<_> = std::fs::read_dir(state.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with("sealed"))
        .collect();
    assert!(sealed.is_empty(), "{sealed:?}");
}
