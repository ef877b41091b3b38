//! `marble-run` as a process, where the application must not start.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marblerun_wire::marble::{ActivationResp, REPLY_LIMIT};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, SignatureScheme};
use tonic::{Code, Status};

use crate::support::any_client::AnyClient;
use crate::support::{Coordinator, SECRET, Server, failing, marble_run, parameters};

const ECHO: [&str; 2] = ["echo", "started"];

fn harmless(_: usize) -> Result<ActivationResp, Status> {
    Ok(ActivationResp {
        parameters: Some(parameters(&[], &[], &ECHO)),
    })
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn every_status_but_unavailable_ends_it_at_once() {
    for code in [
        Code::FailedPrecondition,
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::InvalidArgument,
        Code::Internal,
        Code::Unknown,
        Code::Unimplemented,
        Code::DeadlineExceeded,
    ] {
        let coordinator = Coordinator::answering(move |_| Err(Status::new(code, "the reason\nin two lines")));
        let log = failing(marble_run(coordinator.address, directory().path()).args(ECHO), 1);
        let expected = format!(
            "the Coordinator at {} refused the activation: {code:?}: the reason in two lines",
            coordinator.address
        );
        assert!(log.contains(&expected), "{log}");
        assert_eq!(coordinator.calls().len(), 1);
    }
}

#[test]
fn a_coordinator_that_stays_unavailable_is_given_up() {
    let coordinator = Coordinator::answering(|_| Err(Status::unavailable("in recovery")));
    let log = failing(
        marble_run(coordinator.address, directory().path())
            .args(ECHO)
            .env("EDG_MARBLE_ACTIVATION_TIMEOUT", "500ms"),
        1,
    );
    let attempts = coordinator.calls().len();
    assert!((2..10).contains(&attempts), "{attempts}");
    let expected = format!(
        "the Coordinator at {} did not activate this marble in {attempts} attempts within 0.5 s \
         (EDG_MARBLE_ACTIVATION_TIMEOUT), last: Unavailable: in recovery",
        coordinator.address
    );
    assert!(log.contains(&expected), "{log}");
}

/// The evidence that did not suffice can be looked at afterwards, but only where that is asked for.
#[test]
fn the_evidence_of_a_marble_that_is_refused_is_left_in_a_file() {
    let run =
        |answer: fn(usize) -> Result<ActivationResp, Status>, name: &str, at: &Path, tee: Option<&str>| {
            let coordinator = Coordinator::answering(answer);
            let mut command = marble_run(coordinator.address, at);
            command.args(ECHO).env("EDG_MARBLE_ACTIVATION_TIMEOUT", "0");
            if !name.is_empty() {
                command.env("EDG_MARBLE_EVIDENCE_FILE", at.join(name));
            }
            if let Some(tee) = tee {
                command.env("EDG_SIMULATED_TEE", tee);
            }
            let log = failing(&mut command, 1);
            let [call] = &coordinator.calls()[..] else {
                panic!("{log}");
            };
            (log, call.request.quote.clone())
        };
    let refused = |_| Err(Status::permission_denied("the reason"));
    let at = directory();
    for tee in ["sgx", "tdx", "snp"] {
        // What was left before is longer, and others may read it.
        let left = at.path().join("evidence");
        std::fs::write(&left, [0; 100_000]).unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
        let (log, quote) = run(refused, "evidence", at.path(), Some(tee));
        assert!(log.contains("refused the activation"), "{log}");
        assert!(log.contains("was left in a file"), "{log}");
        assert_eq!(std::fs::read(&left).unwrap(), quote, "{tee}");
        assert!(quote.len() > 1000);
        assert_eq!(
            std::fs::metadata(&left).unwrap().permissions().mode() & 0o7777,
            0o600
        );
    }
    // Put off until the time was over.
    let (_, quote) = run(
        |_| Err(Status::unavailable("later")),
        "late",
        at.path(),
        Some("snp"),
    );
    assert_eq!(std::fs::read(at.path().join("late")).unwrap(), quote);

    // None asked for, none there, and where none can be: the reason for the refusal is told all the same.
    let at = directory();
    let (log, _) = run(refused, "", at.path(), Some("sgx"));
    assert!(!log.contains("was left"), "{log}");
    let (log, quote) = run(refused, "evidence", at.path(), None);
    assert!(
        quote.is_empty() && log.contains("has no evidence, so none was left"),
        "{log}"
    );
    assert!(!at.path().join("evidence").exists());
    let pipe = at.path().join("pipe");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    for (name, reason) in [
        ("pipe", "expected a regular file"),
        (".", "expected a regular file"),
        ("uuid/x", "make directory"),
    ] {
        let (log, _) = run(refused, name, at.path(), Some("sgx"));
        assert!(
            log.contains("the evidence was not left: cannot ") && log.contains(reason),
            "{log}"
        );
        assert!(log.contains("refused the activation"), "{log}");
    }
    // And one that is activated leaves nothing.
    let coordinator = Coordinator::answering(harmless);
    let outcome = marble_run(coordinator.address, at.path())
        .env("EDG_SIMULATED_TEE", "sgx")
        .env("EDG_MARBLE_EVIDENCE_FILE", at.path().join("evidence"))
        .output()
        .unwrap();
    assert_eq!(outcome.stdout, b"started\n", "{outcome:?}");
    assert!(!at.path().join("evidence").exists());
}

#[test]
fn a_coordinator_that_is_not_there_is_given_up() {
    // Far from listening.
    let coordinator = Coordinator::start(Server::default(), Duration::from_secs(3600), harmless);
    let begin = Instant::now();
    let log = failing(
        marble_run(coordinator.address, directory().path())
            .args(ECHO)
            .env("EDG_MARBLE_ACTIVATION_TIMEOUT", "1"),
        1,
    );
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert!(
        log.contains("within 1 s (EDG_MARBLE_ACTIVATION_TIMEOUT), last: Connection refused"),
        "{log}"
    );

    let log = failing(
        marble_run(coordinator.address, directory().path())
            .args(ECHO)
            .env("EDG_MARBLE_ACTIVATION_TIMEOUT", "0"),
        1,
    );
    assert!(log.contains("in 1 attempts within 0 s"), "{log}");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let log = failing(
        marble_run(listener.local_addr().unwrap(), directory().path())
            .args(ECHO)
            .env("EDG_MARBLE_ACTIVATION_TIMEOUT", "1s"),
        1,
    );
    assert!(log.contains("last: no connection within 1 s"), "{log}");
}

#[test]
fn a_server_that_hangs_up_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let log = failing(
        marble_run(address, directory().path())
            .args(ECHO)
            .env("EDG_MARBLE_ACTIVATION_TIMEOUT", "500ms"),
        1,
    );
    assert!(
        log.contains("within 0.5 s") && !log.contains("in 1 attempts"),
        "{log}"
    );
}

#[test]
fn a_refused_client_certificate_is_said_and_not_tried_again() {
    // Asks for a certificate that a marble cannot have: signed by someone.
    let authority = rcgen::generate_simple_self_signed(vec!["authority".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.cert.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let server = Server {
        clients,
        ..Server::default()
    };
    let coordinator = Coordinator::start(server, Duration::ZERO, harmless);
    let log = failing(marble_run(coordinator.address, directory().path()).args(ECHO), 1);
    let expected = format!(
        "the Coordinator at {} refused the TLS handshake with alert ",
        coordinator.address
    );
    assert!(log.contains(&expected), "{log}");
    assert!(
        log.contains(": it does not accept the client certificate of a marble"),
        "{log}"
    );
    assert_eq!(coordinator.connections(), 1);
}

#[test]
fn a_missing_client_certificate_is_said_and_not_tried_again() {
    // Takes only keys that marble-run does not have, so it sends no certificate.
    let clients = AnyClient {
        schemes: vec![SignatureScheme::ED25519],
        ..AnyClient::default()
    };
    let server = Server {
        clients: Arc::new(clients),
        ..Server::default()
    };
    let coordinator = Coordinator::start(server, Duration::ZERO, harmless);
    let log = failing(marble_run(coordinator.address, directory().path()).args(ECHO), 1);
    assert!(
        log.contains("with alert CertificateRequired: it requires a client certificate and saw none"),
        "{log}"
    );
    assert_eq!(coordinator.connections(), 1);
}

#[test]
fn another_server_is_told_from_a_coordinator() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            stream
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .unwrap();
        }
    });
    let log = failing(marble_run(address, directory().path()).args(ECHO), 1);
    assert!(
        log.contains(&format!("{address} is not the Marble API of a Coordinator: ")),
        "{log}"
    );

    let server = Server {
        protocols: vec![b"http/1.1".to_vec()],
        ..Server::default()
    };
    let coordinator = Coordinator::start(server, Duration::ZERO, harmless);
    let log = failing(marble_run(coordinator.address, directory().path()).args(ECHO), 1);
    assert!(
        log.contains("with alert NoApplicationProtocol: it does not speak HTTP/2"),
        "{log}"
    );

    let server = Server {
        protocols: Vec::new(),
        ..Server::default()
    };
    let coordinator = Coordinator::start(server, Duration::ZERO, harmless);
    let log = failing(marble_run(coordinator.address, directory().path()).args(ECHO), 1);
    assert!(log.contains("found: no HTTP/2 agreed on"), "{log}");
}

#[test]
fn an_answer_without_parameters_or_too_large_is_refused() {
    let coordinator = Coordinator::answering(|_| Ok(ActivationResp { parameters: None }));
    let log = failing(marble_run(coordinator.address, directory().path()).args(ECHO), 1);
    assert!(log.contains("gave no parameters"), "{log}");

    let large = SECRET.repeat(REPLY_LIMIT / SECRET.len() + 1);
    let coordinator = Coordinator::giving(parameters(&[("file", &large)], &[], &[]));
    let log = failing(marble_run(coordinator.address, directory().path()).args(ECHO), 1);
    assert!(
        log.contains("OutOfRange") && log.contains(&REPLY_LIMIT.to_string()),
        "{log}"
    );
    assert_eq!(coordinator.calls().len(), 1);
}

#[test]
fn transparent_tls_is_refused_before_anything_is_written() {
    let directory = directory();
    let configuration = format!(
        r#"{{"tls": {{"Incoming": {{"*:8080": {{"clikey": "{SECRET}"}}}}, "Outgoing": {{"backend:80": {{}}}}}}}}"#
    );
    let coordinator = Coordinator::giving(parameters(
        &[("file", "x")],
        &[("MARBLE_TTLS_CONFIG", &configuration)],
        &ECHO,
    ));
    let log = failing(&mut marble_run(coordinator.address, directory.path()), 1);
    assert!(
        log.contains("gives this marble TLS tags (incoming *:8080, outgoing backend:80)"),
        "{log}"
    );
    assert!(!directory.path().join("file").exists());
}

#[test]
fn what_cannot_be_applied_is_refused_before_anything_is_written() {
    for (given, expected) in [
        (
            parameters(&[("a", "x")], &[("A=B", SECRET)], &ECHO),
            "environment variable \"A=B\" of the manifest",
        ),
        (
            parameters(&[("a", "x")], &[("A", "s3cr3t\0")], &ECHO),
            "environment variable \"A\" of the manifest",
        ),
        (
            parameters(&[("a", "x"), ("", SECRET)], &[], &ECHO),
            "file \"\" of the manifest",
        ),
        (
            parameters(&[("a", "x")], &[], &["echo", "s3cr3t\0"]),
            "argument 1 in `Argv` of the manifest",
        ),
        (parameters(&[("a", "x")], &[], &[]), "no program to start"),
    ] {
        let directory = directory();
        let coordinator = Coordinator::giving(given);
        let log = failing(&mut marble_run(coordinator.address, directory.path()), 1);
        assert!(log.contains(expected), "{log}");
        assert!(!directory.path().join("a").exists());
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let directory = directory();
    std::fs::write(directory.path().join("plain"), "").unwrap();
    let coordinator = Coordinator::giving(parameters(&[("plain/file", SECRET)], &[], &ECHO));
    let log = failing(&mut marble_run(coordinator.address, directory.path()), 1);
    assert!(
        log.contains("file \"plain/file\" of the manifest: cannot make directory plain: "),
        "{log}"
    );
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let directory = directory();
    std::fs::write(directory.path().join("data"), "").unwrap();
    for (program, status) in [("./absent", 127), ("absent-from-path", 127), ("./data", 126)] {
        let coordinator = Coordinator::giving(parameters(&[], &[], &[program, SECRET]));
        let log = failing(&mut marble_run(coordinator.address, directory.path()), status);
        assert!(log.contains(&format!("cannot start {program}: ")), "{log}");
    }
}

#[test]
fn a_wrong_environment_or_command_line_costs_no_activation() {
    let coordinator = Coordinator::start(Server::default(), Duration::ZERO, harmless);
    let directory = directory();
    let run = |change: &dyn Fn(&mut std::process::Command)| {
        let mut command = marble_run(coordinator.address, directory.path());
        change(&mut command);
        failing(&mut command, 1)
    };
    for (variable, value, expected) in [
        ("EDG_MARBLE_TYPE", "", "EDG_MARBLE_TYPE is not set"),
        (
            "EDG_MARBLE_COORDINATOR_ADDR",
            "nowhere",
            "EDG_MARBLE_COORDINATOR_ADDR is \"nowhere\": expected host:port",
        ),
        (
            "EDG_MARBLE_DNS_NAMES",
            "a b",
            "EDG_MARBLE_DNS_NAMES is \"a b\": expected",
        ),
        (
            "EDG_MARBLE_ACTIVATION_TIMEOUT",
            "soon",
            "EDG_MARBLE_ACTIVATION_TIMEOUT is \"soon\": expected",
        ),
        (
            "EDG_MARBLE_UUID_FILE",
            "absent/uuid",
            "UUID file absent/uuid: cannot create it: ",
        ),
    ] {
        let log = run(&|command| {
            command.env(variable, value);
        });
        assert!(log.contains(expected), "{log}");
    }
    let log = run(&|command| {
        command.arg("--verbose");
    });
    assert!(
        log.contains("unknown option \"--verbose\": expected marble-run [--] program args"),
        "{log}"
    );

    std::fs::write(directory.path().join("uuid"), "no uuid").unwrap();
    let log = run(&|_| {});
    assert!(
        log.contains("UUID file uuid holds no UUID: expected its 36 characters, found 7 bytes"),
        "{log}"
    );
    assert_eq!(coordinator.connections(), 0);
}

#[test]
fn a_name_that_does_not_resolve_is_retried_and_said() {
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let log = failing(
        marble_run(nowhere, directory().path())
            .args(ECHO)
            .env("EDG_MARBLE_COORDINATOR_ADDR", "coordinator.invalid:2001")
            .env("EDG_MARBLE_ACTIVATION_TIMEOUT", "200ms"),
        1,
    );
    assert!(
        log.contains("the Coordinator at coordinator.invalid:2001 did not activate this marble"),
        "{log}"
    );
}

#[test]
fn a_uuid_file_that_is_a_pipe_or_a_device_is_refused_at_once() {
    let directory = directory();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let coordinator = Coordinator::start(Server::default(), Duration::ZERO, harmless);
    for file in ["pipe", "/dev/zero"] {
        let mut command = marble_run(coordinator.address, directory.path());
        let log = failing(command.env("EDG_MARBLE_UUID_FILE", file), 1);
        let expected = format!("UUID file {file}: cannot read it: expected a regular file");
        assert!(log.contains(&expected), "{log}");
    }
    assert_eq!(coordinator.connections(), 0);
}

#[test]
fn a_uuid_file_that_others_can_write_is_used_with_a_warning() {
    let directory = directory();
    let path = directory.path().join("uuid");
    std::fs::write(&path, "68a9a66e-4a52-4b3d-8e0b-0f6c2c6b2d11").unwrap();
    for (mode, warned) in [(0o644, false), (0o664, true), (0o666, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let coordinator = Coordinator::start(Server::default(), Duration::ZERO, harmless);
        let output = marble_run(coordinator.address, directory.path())
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            log.contains("the UUID file can be changed by other users"),
            warned,
            "{log}"
        );
        assert_eq!(output.stdout, b"started\n");
    }
}
