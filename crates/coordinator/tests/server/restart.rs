//! What was answered is there again: after an orderly end, after a kill, and not for two at a time.

use rustix::process::Signal;
use tonic::Code;

use crate::support::program::{Start, manifest, start, uuid};
use crate::support::{connect, server_certificate};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

#[tokio::test]
async fn what_was_answered_survives_every_end() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let directory = tempfile::tempdir().unwrap();
        let program = start(directory.path(), &[]);
        program.set_manifest(&manifest()).await;
        let root = server_certificate(&connect(program.client, None, &[]).await.unwrap());
        let log = program.ask("GET", "/api/v2/update", "").await.1;
        let view = program.ask("GET", "/api/v2/manifest", "").await.1;
        let marble = program.activate("plain", UUID).await.unwrap();
        for _ in 0..4 {
            program.activate("few", &uuid()).await.unwrap();
        }
        let began = std::time::Instant::now();
        let status = program.end(signal);
        assert!(
            began.elapsed() < std::time::Duration::from_secs(10),
            "peers that do not react hold up the end: {:?}",
            began.elapsed()
        );
        assert_eq!(status.success(), signal != Signal::KILL, "{status}");

        let program = start(directory.path(), &[]);
        assert_eq!(
            program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
            3
        );
        assert_eq!(
            server_certificate(&connect(program.client, None, &[]).await.unwrap()),
            root
        );
        assert_eq!(program.ask("GET", "/api/v2/update", "").await.1, log);
        assert_eq!(program.ask("GET", "/api/v2/manifest", "").await.1, view);
        let again = program.activate("plain", UUID).await.unwrap();
        for name in ["SHARED", "OWN"] {
            assert_eq!(again.env[name], marble.env[name], "{name}");
        }
        assert_eq!(again.files, marble.files);
        for _ in 0..6 {
            program.activate("few", &uuid()).await.unwrap();
        }
        assert_eq!(
            program.activate("few", &uuid()).await.unwrap_err().code(),
            Code::PermissionDenied
        );
    }
}

#[tokio::test]
async fn each_counted_activation_survives_a_kill_right_after_its_reply() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    program.end(Signal::KILL);
    for _ in 0..10 {
        let program = start(directory.path(), &[]);
        program.activate("few", &uuid()).await.unwrap();
        program.end(Signal::KILL);
    }
    let program = start(directory.path(), &[]);
    assert_eq!(
        program.activate("few", &uuid()).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn nothing_is_kept_before_a_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let first = server_certificate(&connect(program.client, None, &[]).await.unwrap());
    program.end(Signal::TERM);
    let program = start(directory.path(), &[]);
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        2
    );
    assert_ne!(
        server_certificate(&connect(program.client, None, &[]).await.unwrap()),
        first
    );
}

#[tokio::test]
async fn a_directory_serves_one_coordinator() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let (status, text) = Start {
        directory: directory.path(),
        flags: &["--ready-file", "second"],
        environment: &[],
    }
    .fail();
    assert_eq!(status.code(), Some(1), "{text}");
    let line = text.lines().last().unwrap();
    assert!(
        line.starts_with("marblerun-coordinator: ") && line.contains("state"),
        "{text}"
    );
    assert!(!directory.path().join("second").exists());
    assert_eq!(program.ask("GET", "/api/v2/status", "").await.0, 200);
}

#[tokio::test]
async fn without_its_key_the_state_waits_for_recovery() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    program.set_manifest(&manifest()).await;
    let root = server_certificate(&connect(program.client, None, &[]).await.unwrap());
    program.end(Signal::TERM);
    std::fs::remove_file(directory.path().join("state/sealed_key")).unwrap();

    let manifest_file = directory.path().join("m.json");
    std::fs::write(&manifest_file, manifest().to_string()).unwrap();
    let program = start(directory.path(), &["--startup-manifest", "m.json"]);
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        1
    );
    assert!(
        program
            .log()
            .contains("the startup manifest is not set: the Coordinator is in recovery mode")
    );
    assert_ne!(
        server_certificate(&connect(program.client, None, &[]).await.unwrap()),
        root
    );
    assert_eq!(
        program.activate("plain", UUID).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    assert_eq!(program.ask("GET", "/api/v2/update", "").await.0, 500);

    // A new manifest ends the hope of recovering, on purpose.
    program.set_manifest(&manifest()).await;
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        3
    );
    program.end(Signal::KILL);
    let program = start(directory.path(), &[]);
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        3
    );
}

#[tokio::test]
async fn a_disabled_seal_mode_forgets_everything() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let mut manifest = manifest();
    manifest["Config"] = serde_json::json!({"SealMode": "Disabled"});
    program.set_manifest(&manifest).await;
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        3
    );
    program.end(Signal::TERM);
    assert!(!directory.path().join("state/sealed_data").exists());
    let program = start(directory.path(), &[]);
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        2
    );
}
