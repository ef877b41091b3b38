//! Gramine and Occlum, as far as files and system names show them: the premain without its last step.

use std::path::{Path, PathBuf};

use marblerun_attestation::ReportBinding;
use marblerun_attestation::header::OpenEnclaveHeader;
use marblerun_attestation::issue::SystemName;
use marblerun_attestation::quote::Quote;
use marblerun_marble::premain::{self, Application, PremainError, Surroundings};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{Coordinator, parameters};

fn surroundings(coordinator: &Coordinator, root: &Path, system: &str, arguments: &[&str]) -> Surroundings {
    let variables = [
        ("EDG_MARBLE_TYPE", "frontend".to_owned()),
        ("EDG_MARBLE_COORDINATOR_ADDR", coordinator.address.to_string()),
        ("EDG_CWD", root.to_str().unwrap().to_owned()),
    ];
    Surroundings {
        root: root.to_owned(),
        system: SystemName {
            system: system.into(),
            release: "6.1".into(),
            version: "2".into(),
            machine: "x86_64".into(),
        },
        variables: variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        arguments: arguments.iter().map(Into::into).collect(),
        executable: Some(PathBuf::from("/premain")),
    }
}

fn command(application: &Application) -> String {
    let arguments: Vec<_> = application.arguments().map(String::from_utf8_lossy).collect();
    format!("{}: {}", application.program().display(), arguments.join(" "))
}

/// As much of Gramine as a marble sees: a quote comes out for the report data that was put in.
fn gramine(root: &Path) -> std::thread::JoinHandle<()> {
    let directory = root.join("dev/attestation");
    std::fs::create_dir_all(directory.join("keys")).unwrap();
    std::fs::write(directory.join("attestation_type"), "dcap").unwrap();
    std::fs::write(directory.join("keys/default"), "").unwrap();
    for pipe in ["user_report_data", "quote"] {
        mknodat(
            CWD,
            directory.join(pipe),
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
    }
    std::thread::spawn(move || {
        let hash = std::fs::read(directory.join("user_report_data")).unwrap();
        assert_eq!(hash.len(), 32);
        std::fs::write(directory.join("quote"), sgx_quote(&hash)).unwrap();
    })
}

/// Header, report body, and a little in the place of a signature.
fn sgx_quote(hash: &[u8]) -> Vec<u8> {
    let mut quote = vec![0; 432];
    quote[..4].copy_from_slice(&[3, 0, 2, 0]);
    quote[368..400].copy_from_slice(hash);
    quote.extend_from_slice(&4_u32.to_le_bytes());
    quote.extend_from_slice(b"sign");
    quote
}

#[test]
fn under_gramine_the_quote_is_bound_to_the_certificate_and_keys_are_handed_over() {
    let root = tempfile::tempdir().unwrap();
    let quoting = gramine(root.path());
    let coordinator = Coordinator::giving(parameters(
        &[
            ("/dev/attestation/keys/default", "0123456789abcdef"),
            ("/config/file", "content"),
        ],
        &[("NAME", "value")],
        &["server", "-x"],
    ));
    let application = premain::prepare(&surroundings(
        &coordinator,
        root.path(),
        "Linux",
        &["/app/server", "-ignored"],
    ))
    .unwrap();
    quoting.join().unwrap();

    let call = &coordinator.calls()[0];
    let binding = ReportBinding::certificate(&call.certificate);
    assert_eq!(
        call.request.quote,
        OpenEnclaveHeader::add(&sgx_quote(binding.digest()))
    );
    assert!(Quote::new(call.request.quote.clone()).unwrap().kind().is_ok());

    assert_eq!(command(&application), "/app/server: server -x");
    assert_eq!(
        application.variables().collect::<Vec<_>>(),
        [("NAME", &b"value"[..])]
    );
    let read = |path| std::fs::read_to_string(root.path().join(path)).unwrap();
    assert_eq!(read("dev/attestation/keys/default"), "0123456789abcdef");
    assert_eq!(read("config/file"), "content");
    assert_eq!(read("uuid"), call.request.uuid);
}

#[test]
fn gramine_without_enclave_sends_no_evidence() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("dev/attestation")).unwrap();
    let coordinator = Coordinator::giving(parameters(&[], &[], &[]));
    let application = premain::prepare(&surroundings(
        &coordinator,
        root.path(),
        "Linux",
        &["/app/server", "-v"],
    ))
    .unwrap();
    assert_eq!(coordinator.calls()[0].request.quote, b"");
    assert_eq!(command(&application), "/app/server: /app/server -v");
}

#[test]
fn a_tee_that_fails_ends_it_before_the_coordinator_is_asked() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("dev/attestation")).unwrap();
    std::fs::write(root.path().join("dev/attestation/user_report_data"), "").unwrap();
    std::fs::write(root.path().join("dev/attestation/quote"), "no quote").unwrap();
    let coordinator = Coordinator::giving(parameters(&[], &[], &[]));
    let error = premain::prepare(&surroundings(
        &coordinator,
        root.path(),
        "Linux",
        &["/app/server"],
    ))
    .err()
    .unwrap();
    assert!(matches!(error, PremainError::Evidence(_)));
    assert!(
        error.to_string().starts_with("no evidence from the TEE: "),
        "{error}"
    );
    assert_eq!(coordinator.connections(), 0);
}

#[test]
fn under_occlum_the_program_must_exist_and_is_called_by_its_base_name() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bin")).unwrap();
    std::fs::write(root.path().join("bin/server"), "").unwrap();
    let coordinator = Coordinator::giving(parameters(&[], &[], &["/bin/server", "-x"]));
    let application = premain::prepare(&surroundings(
        &coordinator,
        root.path(),
        "Occlum",
        &["/bin/premain"],
    ))
    .unwrap();
    assert_eq!(command(&application), "/bin/server: server -x");

    std::fs::remove_file(root.path().join("bin/server")).unwrap();
    let error = premain::prepare(&surroundings(
        &coordinator,
        root.path(),
        "Occlum",
        &["/bin/premain"],
    ))
    .err()
    .unwrap();
    assert_eq!(
        error.to_string(),
        "program \"/bin/server\" does not exist: expected a file in the file system of Occlum"
    );
}

#[test]
fn an_inherited_transparent_tls_configuration_is_refused_too() {
    let root = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::giving(parameters(&[], &[], &[]));
    let mut surroundings = surroundings(&coordinator, root.path(), "Linux", &["marble-run", "true"]);
    surroundings
        .variables
        .insert("MARBLE_TTLS_CONFIG".into(), "{}".into());
    let error = premain::prepare(&surroundings).err().unwrap();
    assert!(matches!(error, PremainError::TransparentTls(_)), "{error}");
}
