//! Replies of the original system, read and written again byte for byte.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use marblerun_wire::rest::{Reply, ReplyStatus, read_reply, to_body, to_secret_body, v1, v2};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    status: u16,
    body: String,
}

#[test]
fn every_recorded_reply_is_written_as_recorded() {
    let recorded: Vec<Recorded> = serde_json::from_str(include_str!("golden/replies.json")).unwrap();
    let mut successes = 0;
    for reply in &recorded {
        if reply.status == 200 {
            success(reply);
            successes += 1;
        } else {
            refusal(reply);
        }
    }
    assert_eq!((successes, recorded.len()), (SUCCESSES, ALL));
}

const SUCCESSES: usize = 29;
const ALL: usize = 57;

fn success(reply: &Recorded) {
    match (reply.method.as_str(), reply.path.as_str()) {
        ("GET", "/status") => round_trip::<v1::Status>(reply),
        ("GET", "/quote") => round_trip::<v1::Quote>(reply),
        ("GET", "/manifest") => round_trip::<v1::Manifest>(reply),
        ("GET", "/update") => round_trip::<String>(reply),
        ("GET", "/secrets") => round_trip::<v1::Secrets>(reply),
        ("GET", "/update-manifest" | "/api/v2/update-manifest") => round_trip::<v2::PendingUpdate>(reply),
        ("POST", "/update" | "/secrets" | "/api/v2/secrets") => round_trip::<()>(reply),
        ("GET", "/api/v2/status") => round_trip::<v2::Status>(reply),
        ("GET", "/api/v2/quote") => round_trip::<v2::Quote>(reply),
        ("GET", "/api/v2/manifest") => round_trip::<v2::Manifest>(reply),
        ("POST", "/api/v2/manifest") => round_trip::<v2::ManifestSet>(reply),
        ("GET", "/api/v2/secrets") => round_trip::<v2::Secrets>(reply),
        ("GET", "/api/v2/update") => round_trip::<v2::UpdateLog>(reply),
        ("POST", "/api/v2/update") => round_trip::<v2::UpdateReceived>(reply),
        ("POST", "/api/v2/update-manifest") => round_trip::<v2::Acknowledged>(reply),
        ("POST", "/api/v2/update-cancel") => round_trip::<v2::Cancelled>(reply),
        ("POST", "/api/v2/recover") => round_trip::<v2::Recovered>(reply),
        ("GET", "/api/v2/recover/public-key") => round_trip::<v2::RecoveryPublicKey>(reply),
        ("POST", "/api/v2/monotonic-counter") => round_trip::<v2::CounterSet>(reply),
        (method, path) => panic!("no type for {method} {path}"),
    }
}

fn round_trip<T: Serialize + DeserializeOwned>(recorded: &Recorded) {
    let place = format!("{} {}", recorded.method, recorded.path);
    let reply: Reply<Option<T>> =
        read_reply(recorded.body.as_bytes()).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(reply.status, ReplyStatus::Success, "{place}");
    let data = reply.data.unwrap_or_else(|| panic!("{place}: no data"));
    let written = to_secret_body(&Reply::success(data)).unwrap();
    assert_eq!(String::from_utf8_lossy(&written), recorded.body, "{place}");
}

fn refusal(recorded: &Recorded) {
    let reply: Reply<Option<()>> = read_reply(recorded.body.as_bytes()).unwrap();
    let written = match reply.status {
        ReplyStatus::Fail => to_body(&Reply::fail((), reply.message)),
        ReplyStatus::Error => to_body(&Reply::error(reply.message)),
        ReplyStatus::Success => panic!(
            "{} {}: {} is success",
            recorded.method, recorded.path, recorded.status
        ),
    };
    assert_eq!(String::from_utf8(written.unwrap()).unwrap(), recorded.body);
}

#[test]
fn the_log_of_version_1_is_the_log_of_version_2_in_lines() {
    let recorded: Vec<Recorded> = serde_json::from_str(include_str!("golden/replies.json")).unwrap();
    let find = |path: &str| {
        &recorded
            .iter()
            .find(|reply| reply.path == path && reply.status == 200)
            .unwrap()
            .body
    };
    let new: v2::UpdateLog = read_reply(find("/api/v2/update").as_bytes())
        .unwrap()
        .data
        .unwrap();
    let old: String = read_reply(find("/update").as_bytes()).unwrap().data.unwrap();
    assert_eq!(v1::update_log(&new.update_log), old);
}
