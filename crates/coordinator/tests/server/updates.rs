//! Updates through the client API: what applies when, what survives, what happens at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::golden::open_recovery_secret;
use crate::start::with_recovery_key;
use crate::support::ClientIdentity;
use crate::support::program::{Program, start, uuid};
use crate::support::users::{Users, upload, wrapped};

fn raise(version: u64) -> String {
    wrapped(&json!({"Packages": {"web": {"SecurityVersion": version}}}))
}

async fn deployed(directory: &std::path::Path) -> (Program, Users) {
    let (program, users) = (start(directory, &[]), Users::new());
    program.set_manifest(&users.manifest()).await;
    (program, users)
}

async fn intermediate(program: &Program) -> String {
    let data = program.v2(None, "GET", "quote", "").await;
    let chain = data["cert"].as_str().unwrap();
    chain
        .split_inclusive("-----END CERTIFICATE-----")
        .next()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn version_1_has_no_place_for_recovery_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path()).await;
    let next = with_recovery_key(users.manifest());
    // Proposing yields nothing yet, so both versions will do.
    let (code, reply) = program
        .ask_as(&users.alice, "POST", "/update", next.to_string())
        .await;
    assert_eq!((code, &reply["data"]), (200, &Value::Null), "{reply}");
    let (code, reply) = program
        .ask_as(&users.bob, "POST", "/update-manifest", next.to_string())
        .await;
    assert_eq!((code, &reply["status"]), (400, &json!("error")), "{reply}");
    assert!(reply["message"].as_str().unwrap().contains("/api/v2"), "{reply}");
    let pending = program.v2(None, "GET", "update-manifest", "").await;
    assert_eq!(
        pending["missingUsers"],
        json!(["bob"]),
        "nothing was acknowledged"
    );

    let data = program
        .v2(&users.bob, "POST", "update-manifest", wrapped(&next))
        .await;
    let secret = data["recoverySecrets"]["one"].as_str().unwrap();
    let secret = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, secret).unwrap();
    assert_eq!(open_recovery_secret(&secret).len(), 16);
    assert_eq!(data["missingAcknowledgments"], 0);
    assert_eq!(data["missingUsers"], Value::Null);

    // Alone, the proposal itself would yield them.
    let mut alone = users.manifest();
    alone["Config"]["UpdateThreshold"] = json!(1);
    for (user, path) in [(&users.alice, "update"), (&users.bob, "update-manifest")] {
        program.v2(user, "POST", path, wrapped(&alone)).await;
    }
    let (code, reply) = program
        .ask_as(&users.alice, "POST", "/update", next.to_string())
        .await;
    assert_eq!((code, &reply["status"]), (400, &json!("error")), "{reply}");
    assert!(reply["message"].as_str().unwrap().contains("/api/v2"), "{reply}");
    let entries = program.update_log().await.len();
    let data = program.v2(&users.alice, "POST", "update", wrapped(&next)).await;
    assert!(data["recoverySecrets"]["one"].is_string(), "{data}");
    assert_eq!(program.update_log().await.len(), entries + 2);

    // The state is under the new data key now.
    program.end(Signal::KILL);
    let program = start(directory.path(), &[]);
    let data = program.v2(None, "GET", "status", "").await;
    assert_eq!(data["code"], 3);
    assert_eq!(program.update_log().await.len(), entries + 2);
}

#[tokio::test]
async fn what_users_did_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path()).await;
    program
        .v2(
            &users.admin,
            "POST",
            "secrets",
            upload([("token", "kept"), ("slot0", "dropped")]),
        )
        .await;
    let before = intermediate(&program).await;
    program.v2(&users.admin, "POST", "update", raise(5)).await;
    assert_ne!(intermediate(&program).await, before);

    let mut next = users.manifest();
    next["Secrets"].as_object_mut().unwrap().remove("slot0");
    let slots = next["Roles"]["slots"]["ResourceNames"].as_array_mut().unwrap();
    slots.retain(|name| name != "slot0");
    let (_, reply) = program
        .ask_as(&users.alice, "POST", "/api/v2/update", wrapped(&next))
        .await;
    let lowering = "1 user still needs to acknowledge the update manifest. The update lowers SecurityVersion: \
                    web from 5 to 3";
    // Who is to acknowledge knows beforehand: from the reply, the pending update, and the log.
    assert_eq!(reply["message"], lowering, "{reply}");
    for path in ["/update-manifest", "/api/v2/update-manifest"] {
        let (_, reply) = program.ask("GET", path, "").await;
        assert_eq!(reply["data"]["message"], lowering);
    }
    let entry = program.update_log().await.pop().unwrap();
    assert_eq!(
        entry["loweredSecurityVersions"],
        json!(["web from 5 to 3"]),
        "{entry}"
    );
    let look = async |program: &Program| {
        let pending = program.v2(None, "GET", "update-manifest", "").await;
        (pending, program.update_log().await, intermediate(program).await)
    };
    let seen = look(&program).await;
    program.end(Signal::KILL);

    let program = start(directory.path(), &[]);
    assert_eq!(look(&program).await, seen);
    assert_eq!(
        program.read(&users.admin, &["token"]).await,
        [Some("kept".to_owned())]
    );
    // The raised version still counts, and nothing else is proposed while one is pending.
    for (user, body, part) in [
        (&users.admin, raise(6), "update already in progress"),
        (&users.bob, wrapped(&next), "update already in progress"),
    ] {
        let (code, reply) = program.ask_as(user, "POST", "/api/v2/update", body).await;
        assert_eq!(code, 500, "{reply}");
        assert!(reply["message"].as_str().unwrap().contains(part), "{reply}");
    }
    let data = program
        .v2(&users.bob, "POST", "update-manifest", wrapped(&next))
        .await;
    let message = data["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("All users have acknowledged the update manifest. Update successfully applied")
            && message.contains("web from 5 to 3"),
        "{message}"
    );
    assert!(program.log().contains("web from 5 to 3"), "the log says so too");
    program.end(Signal::KILL);

    let program = start(directory.path(), &[]);
    assert_eq!(program.ask("GET", "/api/v2/update-manifest", "").await.0, 404);
    assert_eq!(
        program.read(&users.admin, &["token"]).await,
        [Some("kept".to_owned())]
    );
    let (code, reply) = program
        .ask_as(&users.admin, "GET", "/api/v2/secrets?s=slot0", "")
        .await;
    assert_eq!(code, 500, "{reply}");
    // 3 is in force, so that 4 is no downgrade; 2 is.
    program.v2(&users.admin, "POST", "update", raise(4)).await;
    let (code, reply) = program
        .ask_as(&users.admin, "POST", "/api/v2/update", raise(2))
        .await;
    assert_eq!(code, 500);
    assert!(
        reply["message"]
            .as_str()
            .unwrap()
            .contains("update manifest tries to downgrade SecurityVersion of the original manifest"),
        "{reply}"
    );
}

#[tokio::test]
async fn versions_that_no_enclave_has_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path()).await;
    let (code, reply) = program
        .ask_as(&users.admin, "POST", "/api/v2/update", raise(65_536))
        .await;
    assert_eq!(code, 500, "{reply}");
    let message = reply["message"].as_str().unwrap();
    assert!(
        message.contains("Packages.web.SecurityVersion: no enclave has 65536"),
        "{message}"
    );
    let mut next = users.manifest();
    next["Packages"]["web"]["SecurityVersion"] = json!(65_536);
    let (code, reply) = program
        .ask_as(&users.alice, "POST", "/api/v2/update", wrapped(&next))
        .await;
    // A package with Debug may say what it likes.
    assert_eq!(
        code == 500,
        next["Packages"]["web"]["Debug"] != json!(true),
        "{reply}"
    );
    if code == 200 {
        program.v2(&users.alice, "POST", "update-cancel", "").await;
    }
    program.v2(&users.admin, "POST", "update", raise(65_535)).await;
}

#[tokio::test]
async fn replies_name_who_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = (start(directory.path(), &[]), Users::new());
    let mut manifest = users.manifest();
    let carol = ClientIdentity::self_signed();
    manifest["Users"]["carol"] = json!({"Certificate": carol.certificate_pem(), "Roles": ["manifest"]});
    program.set_manifest(&manifest).await;
    let text = manifest.to_string();

    let data = program
        .v2(&users.alice, "POST", "update", wrapped(&manifest))
        .await;
    assert_eq!(
        data,
        json!({"missingAcknowledgments": 2, "missingUsers": ["bob", "carol"]})
    );
    let sentence = "2 users still need to acknowledge the update manifest";
    for path in ["/update-manifest", "/api/v2/update-manifest"] {
        let (_, reply) = program.ask("GET", path, "").await;
        assert_eq!(reply["data"]["message"], sentence);
    }
    // Twice counts once, in either version.
    let sentence = "1 user still needs to acknowledge the update manifest";
    for _ in 0..2 {
        let (_, reply) = program
            .ask_as(&users.bob, "POST", "/update-manifest", text.clone())
            .await;
        assert_eq!(reply["data"], sentence);
        let data = program
            .v2(&users.bob, "POST", "update-manifest", wrapped(&manifest))
            .await;
        assert_eq!(data["message"], format!("{sentence}: carol"));
        assert_eq!(data["missingUsers"], json!(["carol"]));
        let (_, reply) = program.ask("GET", "/update-manifest", "").await;
        assert_eq!(reply["data"]["message"], sentence);
    }
    let (code, reply) = program.ask_as(&carol, "POST", "/update-cancel", "ignored").await;
    assert_eq!(
        (code, &reply["data"]),
        (200, &json!("Update successfully cancelled"))
    );
    for path in ["/update-cancel", "/api/v2/update-cancel"] {
        assert_eq!(program.ask_as(&carol, "POST", path, "").await.0, 404);
    }
}

#[tokio::test]
async fn both_versions_tell_the_whole_log_however_often_it_grew() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path()).await;
    let mut known: Vec<String> = Vec::new();
    for round in 0..4 {
        for path in ["/update", "/api/v2/update"] {
            let (code, reply) = program.ask("GET", path, "").await;
            assert_eq!((code, &reply["status"]), (200, &json!("success")), "{reply}");
            let entries: Vec<String> = match &reply["data"] {
                Value::String(lines) => lines.lines().map(str::to_owned).collect(),
                data => serde_json::from_value(data["updateLog"].clone()).unwrap(),
            };
            assert!(
                entries
                    .iter()
                    .all(|entry| entry.starts_with('{') && entry.ends_with('}')),
                "{entries:?}"
            );
            assert_eq!(entries.len(), round + 1, "{path}");
            assert_eq!(entries[..known.len()], known, "{path}");
            if path != "/update" {
                known = entries;
            }
        }
        let value = format!("value {round}");
        let body = upload([("slot0", value.as_str())]);
        let (code, reply) = program
            .ask_as(&users.admin, "POST", "/api/v2/secrets", body)
            .await;
        assert_eq!(code, 200, "{reply}");
    }
}

#[tokio::test]
async fn of_many_writers_none_is_lost() {
    const WRITERS: usize = 1_000;
    const SLOTS: usize = 3 * WRITERS;
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = (start(directory.path(), &[]), Users::new());
    program.set_manifest(&users.manifest_with_slots(SLOTS)).await;
    let (program, users) = (Arc::new(program), Arc::new(users));
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (program, users) = (Arc::clone(&program), Arc::clone(&users));
        tasks.spawn(async move {
            // Two that all write, and two of its own.
            let value = writer.to_string();
            let own = [1, 2].map(|part| format!("slot{}", part * WRITERS + writer));
            let names = ["slot0", "slot1", &own[0], &own[1]];
            let body = upload(names.map(|name| (name, value.as_str())));
            program.v2(&users.admin, "POST", "secrets", body).await;
        });
    }
    assert_eq!(tasks.join_all().await.len(), WRITERS);

    let entries = program.update_log().await;
    assert_eq!(entries.len(), 1 + 4 * WRITERS);
    let names: Vec<String> = (0..SLOTS).map(|slot| format!("slot{slot}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = program.read(&users.admin, &names).await;
    for (slot, value) in values.iter().enumerate().skip(WRITERS) {
        assert_eq!(
            value.as_deref(),
            Some((slot % WRITERS).to_string().as_str()),
            "slot{slot}"
        );
    }
    // Both came from the same writer: the one whose own secrets come last in the log.
    let last = entries.last().unwrap()["secret"].as_str().unwrap();
    let mut last_written: Vec<&str> = entries[entries.len() - 4..]
        .iter()
        .map(|entry| entry["secret"].as_str().unwrap())
        .collect();
    last_written.sort_unstable();
    assert_eq!(last_written[..2], ["slot0", "slot1"]);
    let writer = (last.trim_start_matches("slot").parse::<usize>().unwrap() % WRITERS).to_string();
    assert_eq!(values[0].as_deref(), Some(writer.as_str()));
    assert_eq!(values[1].as_deref(), Some(writer.as_str()));

    Arc::into_inner(program).unwrap().end(Signal::KILL);
    let program = start(directory.path(), &[]);
    assert_eq!(program.read(&users.admin, &names).await, values);
    assert_eq!(program.update_log().await, entries);
}

#[tokio::test]
async fn activations_during_updates_are_of_one_manifest_or_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = (start(directory.path(), &[]), Users::new());
    // Each generation of the manifest says its number in two places.
    let generation = |number: usize| {
        let mut manifest = users.manifest();
        manifest["Config"]["UpdateThreshold"] = json!(1);
        let parameters = &mut manifest["Marbles"]["plain"]["Parameters"];
        parameters["Env"]["GENERATION"] = json!(number.to_string());
        parameters["Argv"] = json!([number.to_string()]);
        manifest
    };
    program.set_manifest(&generation(0)).await;
    let program = Arc::new(program);
    let stop = Arc::new(AtomicBool::new(false));
    let mut activating = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (program, stop) = (Arc::clone(&program), Arc::clone(&stop));
        activating.spawn(async move {
            let mut activations = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                activations.push(program.activate("plain", &uuid()).await.unwrap());
            }
            activations
        });
    }
    for number in 1..=5 {
        let body = wrapped(&generation(number));
        program.v2(&users.alice, "POST", "update", body).await;
        program
            .v2(&users.admin, "POST", "update", raise(3 + number as u64))
            .await;
    }
    stop.store(true, Ordering::Relaxed);
    let activations: Vec<_> = activating.join_all().await.into_iter().flatten().collect();
    assert!(!activations.is_empty());
    for parameters in &activations {
        let generation = String::from_utf8(parameters.env["GENERATION"].clone()).unwrap();
        assert_eq!(parameters.argv, [generation]);
        let [leaf, root] = [
            "MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN",
            "MARBLE_PREDEFINED_ROOT_CA",
        ]
        .map(|name| x509_parser::pem::parse_x509_pem(&parameters.env[name]).unwrap().1);
        let (leaf, root) = (leaf.parse_x509().unwrap(), root.parse_x509().unwrap());
        let (mut issuer, mut subject) = (None, None);
        for extension in leaf.extensions() {
            if let x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(key) =
                extension.parsed_extension()
            {
                issuer = key.key_identifier.as_ref().map(|key| key.0.to_vec());
            }
        }
        for extension in root.extensions() {
            if let x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(key) =
                extension.parsed_extension()
            {
                subject = Some(key.0.to_vec());
            }
        }
        assert!(subject.is_some());
        assert_eq!(issuer, subject, "the chain is of one Marble root");
    }
    let last = program.activate("plain", &uuid()).await.unwrap();
    assert_eq!(last.argv, ["5"]);
    // Shared keys stay, whatever was updated.
    assert!(
        activations
            .iter()
            .all(|one| one.env["SHARED"] == last.env["SHARED"])
    );
}

#[tokio::test]
async fn writers_do_not_keep_an_update_out() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = (start(directory.path(), &[]), Users::new());
    let mut manifest = users.manifest();
    manifest["Config"]["UpdateThreshold"] = json!(1);
    program.set_manifest(&manifest).await;
    let (program, users) = (Arc::new(program), Arc::new(users));
    // What is written is kept by each update, so that each update rests on it.
    program
        .v2(&users.admin, "POST", "secrets", upload([("token", "0")]))
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writing = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (program, users, stop) = (Arc::clone(&program), Arc::clone(&users), Arc::clone(&stop));
        writing.spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let value = format!("{writer}-{written}");
                let body = upload([("token", value.as_str())]);
                program.v2(&users.admin, "POST", "secrets", body).await;
                written += 1;
            }
            written
        });
    }
    for number in 0..5 {
        manifest["Marbles"]["plain"]["Parameters"]["Argv"] = json!([number.to_string()]);
        let body = wrapped(&manifest);
        program.v2(&users.alice, "POST", "update", body).await;
    }
    stop.store(true, Ordering::Relaxed);
    let written: usize = writing.join_all().await.into_iter().sum();
    assert!(written > 0);
    // Two entries for each update, one for each secret.
    assert_eq!(program.update_log().await.len(), 1 + 1 + 2 * 5 + written);
}

/// The chain of hashes as `docs/update-log.md` says how to compute it.
fn chain(entries: &[Value]) -> Vec<String> {
    let mut hash = vec![0; 32];
    let next = |entry: &Value| {
        let covered = [&*hash, entry.as_str().unwrap().as_bytes()].concat();
        hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &covered)
            .as_ref()
            .to_vec();
        hex::encode(&hash)
    };
    entries.iter().map(next).collect()
}

#[tokio::test]
async fn hashes_of_the_update_log_are_a_chain_that_only_grows() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = deployed(directory.path()).await;
    let look = async |program: &Program| {
        let data = program.v2(None, "GET", "update", "").await;
        let list = |name: &str| data[name].as_array().unwrap().clone();
        let (entries, hashes) = (list("updateLog"), list("updateLogHashes"));
        assert_eq!(json!(hashes), json!(chain(&entries)));
        (entries, hashes)
    };
    let (first, kept) = look(&program).await;
    assert_eq!(first.len(), 1);
    for value in ["one", "two"] {
        program
            .v2(&users.admin, "POST", "secrets", upload([("token", value)]))
            .await;
    }
    program.v2(&users.admin, "POST", "update", raise(5)).await;
    let (entries, hashes) = look(&program).await;
    assert_eq!((entries.len(), hashes.len()), (4, 4));
    assert!(entries.starts_with(&first) && hashes.starts_with(&kept));

    // Whatever is changed, left out or put in before an entry shows in its hash.
    let last = &hashes[3..];
    let mut changed = entries.clone();
    changed[1] = json!(changed[1].as_str().unwrap().replace("token", "other"));
    assert_ne!(json!(chain(&changed)[3..]), json!(last));
    changed = entries.clone();
    changed.remove(1);
    assert_ne!(json!(chain(&changed)[2..]), json!(last));
    changed = entries.clone();
    changed.swap(1, 2);
    assert_ne!(json!(chain(&changed)[3..]), json!(last));

    program.end(Signal::KILL);
    let program = start(directory.path(), &[]);
    assert_eq!(look(&program).await, (entries, hashes));
    // Version 1 has the entries alone.
    let (_, reply) = program.ask("GET", "/update", "").await;
    assert_eq!(reply["data"].as_str().unwrap().lines().count(), 4);
}
