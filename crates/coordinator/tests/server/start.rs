//! How the program starts, how it refuses to, and what it says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::program::{Start, manifest, start};
use crate::support::{connect, http1, read, request};

fn fail(flags: &[&str], environment: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (status, text) = Start {
        directory: directory.path(),
        flags,
        environment,
    }
    .fail();
    assert_eq!(status.code(), Some(1), "{text}");
    text
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn a_start_that_fails_says_why_in_one_line() {
    let text = fail(&["--simulation=0"], &[]);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("no TEE that the Coordinator can use"), "{text}");
    let text = fail(&[], &[("EDG_DEBUG_LOGGING", "yes")]);
    assert_eq!(
        text,
        "marblerun-coordinator: EDG_DEBUG_LOGGING: expected 1 (on) or 0 (off), found `yes`\n"
    );
    let text = fail(&["--nope"], &[]);
    assert_eq!(text.lines().count(), 1, "{text}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = fail(&["--client-addr", &address], &[]);
    assert!(
        last_line(&text).contains(&format!("cannot listen on {address}")),
        "{text}"
    );

    let text = fail(&["--seal-dir", "/dev/null/state"], &[]);
    assert!(last_line(&text).contains("/dev/null/state"), "{text}");
    let text = fail(&["--ready-file", "/nowhere/ready"], &[]);
    assert!(last_line(&text).contains("/nowhere/ready"), "{text}");
    let text = fail(&[], &[("RUST_LOG", "a=b=c")]);
    assert!(last_line(&text).contains("RUST_LOG"), "{text}");
    let text = fail(&[], &[("RUST_LOG", "[[[")]);
    assert!(
        last_line(&text).contains("RUST_LOG: expected directives"),
        "{text}"
    );
}

#[test]
fn help_and_version_are_printed() {
    let directory = tempfile::tempdir().unwrap();
    for (flag, part) in [
        ("--help", "EDG_COORDINATOR_MESH_ADDR"),
        ("--version", env!("CARGO_PKG_VERSION")),
    ] {
        let start = Start {
            directory: directory.path(),
            flags: &[flag],
            environment: &[],
        };
        let output = start
            .command()
            .stdout(std::process::Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(part));
    }
}

#[tokio::test]
async fn every_line_of_the_log_says_simulation() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [("EDG_DEBUG_LOGGING", "1")];
    let program = Start {
        directory: directory.path(),
        flags: &[],
        environment: &environment,
    }
    .run();
    program.set_manifest(&manifest()).await;
    program.ask("GET", "/nope", "").await;
    let _ = program.activate("nope", "x").await;
    let log = program.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().all(|line| line["mode"] == "SIMULATION"), "{log}");
    let loud = lines.iter().find(|line| line["level"] == "WARN").unwrap();
    assert!(loud["message"].as_str().unwrap().contains("SIMULATION"), "{log}");

    // The lines of one request carry its number, those of different requests different ones.
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "request refused")
        .collect();
    let numbers: Vec<_> = refused
        .iter()
        .map(|line| line["request"].as_str().unwrap())
        .collect();
    assert_eq!(numbers.len(), 2, "{log}");
    assert_ne!(numbers[0], numbers[1]);
    assert!(refused.iter().all(|line| line["level"] == "ERROR"), "{log}");
    assert_eq!(refused[0]["path"], "/nope");
    let reason = lines
        .iter()
        .find(|line| line["message"] == "activation refused")
        .unwrap();
    assert_eq!(reason["request"], refused[1]["request"]);
}

#[tokio::test]
async fn what_strangers_send_stays_in_its_line_and_does_nothing_to_it() {
    let hostile = "a\nb\u{85}c\u{2028}d\u{202e}e\u{1b}[2Jf\u{9b}g\u{7f}\"\\é";
    let method = "M".repeat(5000);
    for format in ["json", "text"] {
        let directory = tempfile::tempdir().unwrap();
        let program = start(directory.path(), &["--log-format", format]);
        let before = program.log().lines().count();
        program.set_manifest(&manifest()).await;
        let _ = program.activate(hostile, "x").await;
        program.ask(&method, "/nope", "").await;
        let log = program.log();
        let hidden = |character: char| {
            character != '\n' && (character.is_control() || "\u{2028}\u{202e}".contains(character))
        };
        assert!(!log.contains(hidden), "{log:?}");
        assert!(log.lines().count() > before);
        assert!(log.contains('é'), "what can be seen stays: {log}");
        assert!(log.lines().all(|line| line.len() < 1500), "{log}");
        if format == "json" {
            let told = log.lines().any(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["marble_type"] == hostile
            });
            assert!(told, "{log}");
        }
    }
}

#[tokio::test]
async fn lines_have_their_request_whatever_the_level() {
    let directory = tempfile::tempdir().unwrap();
    for level in ["warn", "error"] {
        let environment = [("RUST_LOG", level)];
        let program = Start {
            directory: directory.path(),
            flags: &[],
            environment: &environment,
        }
        .run();
        program.ask("GET", "/nope", "").await;
        let log = program.log();
        let refused = log.lines().find(|line| line.contains("request refused")).unwrap();
        let refused: Value = serde_json::from_str(refused).unwrap();
        assert_eq!(refused["request"].as_str().unwrap().len(), 16, "{log}");
    }
}

#[tokio::test]
async fn the_level_of_refusals_and_the_format_are_configured() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [
        ("EDG_HTTP_ERROR_LOG_LEVEL", "debug"),
        ("EDG_COORDINATOR_DEV_MODE", "1"),
    ];
    let program = Start {
        directory: directory.path(),
        flags: &[],
        environment: &environment,
    }
    .run();
    program.ask("GET", "/nope%0Aforged", "").await;
    let log = program.log();
    assert!(!log.contains("request refused"), "{log}");
    assert!(log.lines().all(|line| line.contains(" SIMULATION ")), "{log}");
}

#[tokio::test]
async fn no_core_file_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let values: Vec<_> = line.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{line}");
}

fn startup(directory: &std::path::Path, manifest: &Value) {
    std::fs::write(directory.join("startup.json"), manifest.to_string()).unwrap();
}

const STARTUP: &[&str] = &["--startup-manifest", "startup.json"];

pub fn with_recovery_key(mut manifest: Value) -> Value {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("../golden/single-exchanges.json")).unwrap();
    let body: Value = serde_json::from_str(recorded[43]["request"]["body"].as_str().unwrap()).unwrap();
    let theirs: Value =
        serde_json::from_slice(&STANDARD.decode(body["manifest"].as_str().unwrap()).unwrap()).unwrap();
    manifest["RecoveryKeys"] = theirs["RecoveryKeys"].clone();
    manifest
}

#[tokio::test]
async fn a_startup_manifest_is_set_once() {
    let directory = tempfile::tempdir().unwrap();
    startup(directory.path(), &with_recovery_key(manifest()));
    let program = start(directory.path(), STARTUP);
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        3
    );
    let view = program.ask("GET", "/api/v2/manifest", "").await.1;
    let file = directory.path().join("state/recovery_secrets.json");
    let secrets: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let secret = STANDARD
        .decode(secrets["RecoverySecrets"]["one"].as_str().unwrap())
        .unwrap();
    assert_eq!(crate::golden::open_recovery_secret(&secret).len(), 16);
    program.end(Signal::TERM);

    let about = |log: &str| log.matches("the startup manifest is not set").count();
    let program = start(directory.path(), STARTUP);
    assert_eq!(about(&program.log()), 0, "the same manifest again is no news");
    program.end(Signal::TERM);

    startup(directory.path(), &json!({"Packages": {}}));
    let program = start(directory.path(), STARTUP);
    assert_eq!(about(&program.log()), 1, "{}", program.log());
    assert_eq!(program.ask("GET", "/api/v2/manifest", "").await.1, view);
}

#[tokio::test]
async fn a_startup_manifest_that_cannot_be_set_ends_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let fail = |flags: &[&str]| {
        let (status, text) = Start {
            directory: directory.path(),
            flags,
            environment: &[],
        }
        .fail();
        assert_eq!(status.code(), Some(1), "{text}");
        last_line(&text).to_owned()
    };
    assert!(fail(&["--startup-manifest", "missing.json"]).contains("missing.json cannot be read"));
    startup(directory.path(), &json!({"Packages": {}}));
    let line = fail(STARTUP);
    assert!(
        line.contains("startup.json was refused") && line.contains("Marbles"),
        "{line}"
    );

    // Recovery secrets that cannot be kept: nothing is set.
    startup(directory.path(), &with_recovery_key(manifest()));
    let blocked = directory.path().join("state/recovery_secrets.json/x");
    std::fs::create_dir_all(&blocked).unwrap();
    let line = fail(STARTUP);
    assert!(line.contains("the recovery secrets cannot be written"), "{line}");
    std::fs::remove_dir_all(directory.path().join("state/recovery_secrets.json")).unwrap();
    let program = start(directory.path(), &[]);
    assert_eq!(
        program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
        2
    );
}

#[test]
fn what_went_wrong_is_said_once() {
    for flags in [
        ["--startup-manifest", "/nowhere/manifest"],
        ["--ready-file", "/nowhere/ready"],
        ["--seal-dir", "/dev/null/state"],
    ] {
        let text = fail(&flags, &[]);
        let line = last_line(&text);
        assert_eq!(line.matches("os error").count(), 1, "{line}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_by_name_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let victim = directory.path().join("victim");
    std::fs::write(&victim, [7; 32]).unwrap();
    let pipe = |path: &std::path::Path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    };
    type Plant<'a> = &'a dyn Fn(&std::path::Path);
    let plants: [(&str, Plant<'_>); 4] = [
        ("a pipe", &pipe),
        ("a symbolic link", &|path| {
            std::os::unix::fs::symlink(&victim, path).unwrap();
        }),
        ("hard links", &|path| std::fs::hard_link(&victim, path).unwrap()),
        ("a directory", &|path| std::fs::create_dir(path).unwrap()),
    ];
    for name in ["sealed_data", "sealed_key", "lock"] {
        for (what, plant) in plants {
            let path = state.join(name);
            // The lock is made by the first start.
            let _ = std::fs::remove_file(&path);
            plant(&path);
            let (status, text) = Start {
                directory: directory.path(),
                flags: &[],
                environment: &[],
            }
            .fail();
            assert_eq!(status.code(), Some(1), "{text}");
            let line = last_line(&text);
            assert!(
                line.contains(&format!("/{name}")) && line.contains(what),
                "{what}: {line}"
            );
            if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir(&path).unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
    assert_eq!(std::fs::read(&victim).unwrap(), [7; 32]);
}

#[tokio::test]
async fn nothing_is_written_through_what_was_planted_in_the_directory() {
    use std::os::unix::fs::MetadataExt as _;

    let plants: [fn(&std::path::Path, &std::path::Path); 2] = [
        |victim, link| std::os::unix::fs::symlink(victim, link).unwrap(),
        |victim, link| std::fs::hard_link(victim, link).unwrap(),
    ];
    for plant in plants {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let names = [
            "sealed_data",
            "sealed_key",
            "simulation_seal_key",
            "recovery_secrets.json",
        ];
        for name in names {
            plant(&victim, &state.join(format!("{name}.new")));
        }
        let startup = directory.path().join("manifest.json");
        std::fs::write(&startup, with_recovery_key(manifest()).to_string()).unwrap();
        let flags = ["--fresh", "--startup-manifest", startup.to_str().unwrap()];
        let program = start(directory.path(), &flags);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        for name in names {
            let made = std::fs::symlink_metadata(state.join(name)).unwrap();
            assert!(
                made.is_file() && made.nlink() == 1 && made.mode() & 0o777 == 0o600,
                "{name}"
            );
        }
        program.end(Signal::KILL);
        let program = start(directory.path(), &[]);
        assert_eq!(
            program.ask("GET", "/api/v2/status", "").await.1["data"]["code"],
            3
        );
    }
}

#[test]
fn a_directory_that_others_may_write_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("lock"), "").unwrap();
    let open = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&state, open(0o777)).unwrap();
    std::fs::set_permissions(state.join("lock"), open(0o666)).unwrap();
    let program = start(directory.path(), &[]);
    let log = program.log();
    assert!(log.contains("state can be written by others"), "{log}");
    assert!(log.contains("lock can be written by others"), "{log}");
    let mode = state.join("lock").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    program.end(Signal::TERM);
    // One it makes itself gives no cause.
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::remove_file(directory.path().join("log")).unwrap();
    let program = start(directory.path(), &[]);
    assert!(!program.log().contains("by others"), "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_fill_the_log() {
    const REQUESTS: usize = 3000;
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &[]);
    let tls = connect(program.client, None, &["http/1.1"]).await.unwrap();
    let mut sender = http1(tls).await;
    for _ in 0..REQUESTS {
        sender.ready().await.unwrap();
        let (status, ..) = read(sender.send_request(request("GET", "/nowhere", "")).await.unwrap()).await;
        assert_eq!(status.as_u16(), 405);
    }
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let (_, _) = program.ask("GET", "/nowhere", "").await;
    let refused: Vec<Value> = program
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let lines = |message: &str| refused.iter().filter(|line| line["message"] == message).count();
    let written = lines("request refused");
    assert!((200..REQUESTS / 2).contains(&written), "{written}");
    let left_out: u64 = refused.iter().filter_map(|line| line["left_out"].as_u64()).sum();
    assert_eq!(written + usize::try_from(left_out).unwrap(), REQUESTS + 1);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_costs_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    for log_format in ["json", "text"] {
        let start = Start {
            directory: directory.path(),
            flags: &["--log-format", log_format],
            environment: &[],
        };
        // Each write fails as on a full disk.
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let program = start.run_logging_to(full.unwrap());
        if log_format == "json" {
            program.set_manifest(&manifest()).await;
        }
        let (status, reply) = program.ask("GET", "/api/v2/secrets?s=shared", "").await;
        assert_eq!(status, 401, "{reply}");
        program
            .activate("few", "11111111-2222-4333-8444-555555555555")
            .await
            .unwrap();
        program.end(Signal::TERM);
    }
}
