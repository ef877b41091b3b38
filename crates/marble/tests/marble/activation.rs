//! `marble-run` as a process, where all goes well in the end.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use marblerun_attestation::ReportBinding;
use marblerun_wire::marble::ActivationResp;
use tonic::Status;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::support::{Coordinator, SECRET, Server, marble_run, parameters, succeeding};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_environment_and_arguments_are_applied_and_nothing_secret_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let key_file = directory.path().join("secrets/deep/key");
    let secret = |name: &str| format!("{SECRET} {name}");
    let coordinator = Coordinator::giving(parameters(
        &[
            (key_file.to_str().unwrap(), &secret("file")),
            ("relative", "beside"),
        ],
        &[("TOKEN", &secret("variable")), ("INHERITED", "from the manifest")],
        &[
            "sh",
            "-c",
            "cat secrets/deep/key; echo; echo \"$TOKEN,$INHERITED,$KEPT,$1\"",
            "sh",
            &secret("argument"),
        ],
    ));

    for format in ["text", "JSON"] {
        let output = succeeding(
            marble_run(coordinator.address, directory.path())
                .args(["--", "/bin/false"])
                .env("INHERITED", "from outside")
                .env("KEPT", "kept")
                .env("EDG_LOG_FORMAT", format)
                .env("EDG_DEBUG_LOGGING", "1"),
        );
        let expected = format!("{SECRET} file\n{SECRET} variable,from the manifest,kept,{SECRET} argument\n");
        assert_eq!(output, expected);
    }
    assert_eq!(mode(&key_file), 0o600);
    assert_eq!(mode(key_file.parent().unwrap()), 0o700);
    assert_eq!(
        std::fs::read(directory.path().join("relative")).unwrap(),
        b"beside"
    );
}

#[test]
fn the_request_is_what_the_protocol_asks_for() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::giving(parameters(&[], &[], &[]));
    for _ in 0..2 {
        succeeding(
            marble_run(coordinator.address, directory.path())
                .arg("true")
                .env("EDG_MARBLE_DNS_NAMES", "a.example, 10.0.0.1"),
        );
    }
    let [first, second] = &coordinator.calls()[..] else {
        panic!("two activations")
    };
    assert_eq!(first.request.marble_type, "frontend");
    assert_eq!(first.request.quote, b"", "no TEE here");

    let uuid = std::fs::read_to_string(directory.path().join("uuid")).unwrap();
    assert_eq!(mode(&directory.path().join("uuid")), 0o600);
    assert_eq!((&first.request.uuid, &second.request.uuid), (&uuid, &uuid));
    assert_ne!(
        first.certificate, second.certificate,
        "key and certificate are of one activation"
    );

    let (_, certificate) = x509_parser::parse_x509_certificate(&first.certificate).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=MarbleRun Marble");
    let (_, request) = X509CertificationRequest::from_der(&first.request.csr).unwrap();
    assert_eq!(
        request
            .certification_request_info
            .subject_pki
            .subject_public_key
            .data,
        certificate.public_key().subject_public_key.data
    );
    assert_ne!(
        ReportBinding::certificate(&first.certificate),
        ReportBinding::certificate(&second.certificate)
    );
}

#[test]
fn the_application_is_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::giving(parameters(&[], &[], &[]));
    let child = marble_run(coordinator.address, directory.path())
        .args(["sh", "-c", "echo $$; exit 42"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), id.to_string());
    assert_eq!(output.status.code(), Some(42));

    let status = marble_run(coordinator.address, directory.path())
        .args(["sh", "-c", "kill -TERM $$"])
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn the_program_is_that_of_the_command_line_without_argv_in_the_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::giving(parameters(&[], &[("PATH_CHECK", "yes")], &[]));
    for separator in [&[][..], &["--"]] {
        let output = succeeding(
            marble_run(coordinator.address, directory.path())
                .args(separator)
                .args(["sh", "-c", "echo $0 $1 $PATH_CHECK", "zero", "one"]),
        );
        assert_eq!(output, "zero one yes\n");
    }
}

#[test]
fn unavailable_is_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::answering(|number| match number {
        1 | 2 => Err(Status::unavailable("not now")),
        _ => Ok(ActivationResp {
            parameters: Some(parameters(&[], &[], &["echo", "started"])),
        }),
    });
    assert_eq!(
        succeeding(&mut marble_run(coordinator.address, directory.path())),
        "started\n"
    );
    assert_eq!(coordinator.calls().len(), 3);
}

#[test]
fn a_coordinator_that_comes_up_later_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::start(Server::default(), Duration::from_millis(700), |_| {
        Ok(ActivationResp {
            parameters: Some(parameters(&[], &[], &["echo", "started"])),
        })
    });
    let output = marble_run(coordinator.address, directory.path())
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.stdout, b"started\n", "{log}");
    assert!(log.contains("refused"), "it had to wait: {log}");
    assert_eq!(coordinator.calls().len(), 1);
}

#[test]
fn json_logs_are_one_object_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::giving(parameters(&[], &[], &["true"]));
    let output = marble_run(coordinator.address, directory.path())
        .env("EDG_LOG_FORMAT", "Json")
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        lines
            .iter()
            .any(|line| line["message"] == "activated" && line["level"] == "INFO"),
        "{log}"
    );
}

#[test]
fn help_and_version_need_no_coordinator() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let help = succeeding(marble_run(nowhere, directory.path()).arg("--help"));
    assert!(help.contains("EDG_MARBLE_TYPE"), "{help}");
    let version = succeeding(marble_run(nowhere, directory.path()).arg("--version"));
    assert_eq!(version, format!("marble-run {}\n", env!("CARGO_PKG_VERSION")));
}
