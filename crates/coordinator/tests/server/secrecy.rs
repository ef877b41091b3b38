//! No secret reaches the log, whatever is logged.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rustix::process::Signal;
use serde_json::json;

use crate::golden::open_recovery_secret;
use crate::start::with_recovery_key;
use crate::support::program::{Start, uuid};
use crate::support::users::{Users, upload};

#[tokio::test]
async fn no_secret_is_in_the_log_at_trace_level() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [("RUST_LOG", "trace"), ("EDG_DEBUG_LOGGING", "1")];
    let start = Start {
        directory: directory.path(),
        flags: &[],
        environment: &environment,
    };
    let program = start.run();
    let users = Users::new();
    let mut manifest = with_recovery_key(users.manifest());
    let fixed = "a value of the manifest itself";
    manifest["Marbles"]["plain"]["Parameters"]["Files"]["/fixed"] = json!(fixed);
    let recovery_secrets = program.set_manifest(&manifest).await;

    // Everything a marble is handed, the data key, and what is in the files of the simulated TEE.
    let mut secrets: Vec<Vec<u8>> = Vec::new();
    for _ in 0..3 {
        let mut parameters = program.activate("plain", &uuid()).await.unwrap();
        for (name, value) in std::mem::take(&mut parameters.env) {
            if name == "MARBLE_PREDEFINED_PRIVATE_KEY" || !name.starts_with("MARBLE_PREDEFINED") {
                secrets.push(value);
            }
        }
        let files = std::mem::take(&mut parameters.files);
        secrets.extend(
            files
                .into_iter()
                .filter(|(path, _)| path != "/fixed")
                .map(|(_, content)| content),
        );
    }
    let sealed = STANDARD
        .decode(recovery_secrets["one"].as_str().unwrap())
        .unwrap();
    secrets.push(open_recovery_secret(&sealed));
    // What users upload and read, in good and bad bodies.
    let (token, bad) = ("uploaded by a user", "not what was expected");
    secrets.extend([token, bad].map(|secret| secret.as_bytes().to_vec()));
    program
        .v2(&users.admin, "POST", "secrets", upload([("token", token)]))
        .await;
    program
        .v2(&users.admin, "GET", "secrets?s=token&s=shared&s=cert", "")
        .await;
    for body in [
        upload([("uploaded", bad)]),
        upload([("slot0", bad), ("nope", bad)]),
        format!("{{\"secrets\": {{\"token\": {{\"Key\": {bad:?}}}}}}}"),
        format!("{{\"secrets\": {{\"token\": {bad:?}}}}}"),
    ] {
        let (code, reply) = program
            .ask_as(&users.admin, "POST", "/api/v2/secrets", body)
            .await;
        assert_ne!(code, 200, "{reply}");
        assert!(!reply.to_string().contains(bad), "{reply}");
    }
    // Refusals and failures, which are what gets logged most.
    let _ = program.activate("unset", &uuid()).await;
    program.ask("POST", "/api/v2/manifest", "{\"manifest\": 1}").await;
    program.ask("GET", "/api/v2/quote?nonce=!!", "").await;
    let log_before = program.log();
    program.end(Signal::TERM);
    let program = start.run();
    let log = program.log();
    assert!(
        log.len() > log_before.len() && log.contains("\"TRACE\""),
        "the log must be at trace level"
    );

    assert!(
        secrets.iter().all(|secret| secret.len() >= 16),
        "what is looked for must be worth it"
    );
    for secret in &secrets {
        for (form, text) in forms(secret) {
            assert!(!log.contains(&text), "a secret is in the log, as {form}");
        }
    }
    assert!(!log.contains(fixed), "template output is in the log");
    assert!(!log.contains("PRIVATE KEY"));
}

/// The ways a secret could be written. Of PEM every full line counts.
fn forms(secret: &[u8]) -> Vec<(&'static str, String)> {
    let mut bytes = vec![secret.to_vec()];
    if let Ok(text) = std::str::from_utf8(secret) {
        bytes.extend(hex::decode(text));
        bytes.extend(
            text.lines()
                .filter(|line| line.len() == 64)
                .map(|line| line.as_bytes().to_vec()),
        );
    }
    let mut forms = Vec::new();
    for bytes in bytes {
        forms.push(("hex", hex::encode(&bytes)));
        forms.push(("upper-case hex", hex::encode_upper(&bytes)));
        forms.push(("base64", STANDARD.encode(&bytes)));
        forms.push(("base64 without padding", STANDARD_NO_PAD.encode(&bytes)));
        forms.push(("base64url", URL_SAFE_NO_PAD.encode(&bytes)));
        forms.push((
            "a list of numbers",
            format!("{bytes:?}").trim_matches(['[', ']']).to_owned(),
        ));
        if let Ok(text) = String::from_utf8(bytes) {
            forms.push(("text", text));
        }
    }
    forms
}
