//! Replays the recordings of the original system (`../golden/README.md`).
//!
//! One table says for each exchange what becomes of it; an exchange in none of its rows, or in two, fails the test.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marblerun_wire::marble::{ActivationReq, Parameters};
use serde_json::Value;

use crate::support::ClientIdentity;
use crate::support::program::{Program, start};

/// What becomes of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Sent to our Coordinator; the reply must agree.
    Replayed,
}

use Fate::Replayed;

/// Where our `message` goes on after theirs, with what; `docs/compatibility.md` says why.
const MESSAGES_THAT_GO_ON: &[(usize, &str)] = &[
    (104, ". The update lowers SecurityVersion: frontend from 5 to 3"),
    (105, ". The update lowers SecurityVersion: frontend from 5 to 3"),
    (112, ". SecurityVersion lowered: frontend from 5 to 3"),
];

/// Where our reply has a `message` and theirs has none.
const MESSAGES_MORE: &[usize] = &[102, 111];

/// Every exchange, by its place in the recording.
const FATES: &[(RangeInclusive<usize>, Fate)] = &[
    (0..=20, Replayed),   // before a manifest; paths there are not, bodies that are not JSON
    (21..=54, Replayed),  // recover of version 1, nonces, refused manifests, the manifest, reads after it
    (55..=81, Replayed),  // refused activations, secrets
    (82..=93, Replayed),  // activations, counters
    (94..=116, Replayed), // updates
];

fn fate(index: usize) -> Fate {
    let fates: Vec<_> = FATES.iter().filter(|(range, _)| range.contains(&index)).collect();
    assert_eq!(fates.len(), 1, "exchange {index} must be in the table once");
    fates[0].1
}

fn recording() -> Vec<Value> {
    serde_json::from_str(include_str!("../golden/single-exchanges.json")).unwrap()
}

#[tokio::test]
async fn what_the_original_answered_we_answer() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path(), &["--crypto-suite", "p384-aes256"]);
    let exchanges = recording();
    let last = FATES.iter().map(|(range, _)| *range.end()).max();
    assert_eq!(
        last,
        Some(exchanges.len() - 1),
        "the table goes as far as the recording"
    );

    let mut marble = None;
    let mut replayed = 0;
    for (index, exchange) in exchanges.iter().enumerate() {
        if fate(index) != Replayed {
            continue;
        }
        let place = format!(
            "exchange {index}, {}: {}",
            exchange["note"], exchange["request"]["path"]
        );
        if exchange["request"].get("MarbleType").is_some() {
            marble = activate(&program, exchange, &place).await.or(marble);
        } else {
            let mut exchange = exchange.clone();
            for (_, more) in MESSAGES_THAT_GO_ON.iter().filter(|(place, _)| *place == index) {
                go_on(&mut exchange, more);
            }
            if MESSAGES_MORE.contains(&index) {
                say(&mut exchange);
            }
            call(&program, &exchange, marble.as_ref(), &place).await;
        }
        replayed += 1;
    }
    assert_eq!(replayed, 117, "the number of replayed exchanges only ever grows");
}

/// Gives the recorded reply a message.
fn say(exchange: &mut Value) {
    let body = exchange["response"]["body"].as_str().unwrap();
    let mut body: Value = serde_json::from_str(body).unwrap();
    assert!(body.get("message").is_none());
    body["message"] = "1 user still needs to acknowledge the update manifest. The update lowers \
                       SecurityVersion: frontend from 5 to 3"
        .into();
    exchange["response"]["body"] = body.to_string().into();
}

/// Lets the recorded message go on.
fn go_on(exchange: &mut Value, more: &str) {
    let body = exchange["response"]["body"].as_str().unwrap();
    let mut body: Value = serde_json::from_str(body).unwrap();
    let message = format!("{}{more}", body["data"]["message"].as_str().unwrap());
    body["data"]["message"] = message.into();
    exchange["response"]["body"] = body.to_string().into();
}

/// The identity of a user of the recording; `marble` is that of the last marble that was activated.
fn identity(name: &str, marble: Option<&ClientIdentity>) -> ClientIdentity {
    macro_rules! user {
        ($name:literal) => {
            ClientIdentity::from_pem(
                include_bytes!(concat!("../golden/", $name, ".crt.pem")),
                include_bytes!(concat!("../golden/", $name, ".key.pem")),
            )
        };
    }
    match name {
        "admin" => user!("admin"),
        "alice" => user!("alice"),
        "bob" => user!("bob"),
        "nobody" => user!("nobody"),
        "marble" => marble.unwrap().clone(),
        other => panic!("{other} is nobody of the recording"),
    }
}

async fn call(program: &Program, exchange: &Value, marble: Option<&ClientIdentity>, place: &str) {
    let (request, recorded) = (&exchange["request"], &exchange["response"]);
    let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
    let caller = request["user"].as_str().map(|name| identity(name, marble));
    let (status, ours) = program
        .ask_as(caller.as_ref(), &text("method"), &text("path"), text("body"))
        .await;
    let theirs: Value = serde_json::from_str(recorded["body"].as_str().unwrap()).unwrap();
    assert_eq!(status, recorded["status"], "{place}: {ours}");
    same_shape(&theirs, &ours, place);
    assert_eq!(ours["status"], theirs["status"], "{place}");

    let message = |reply: &Value| reply["message"].as_str().unwrap_or_default().to_owned();
    for fixed in [
        "server is not in expected state",
        "invalid query: bad nonce format",
        "Use the /api/v2/recover endpoint",
        "unauthorized user: ",
        "unauthorized marble: ",
        "declared size and actual size don't match",
        "update manifest tries to downgrade SecurityVersion of the original manifest",
    ] {
        if message(&theirs).contains(fixed) {
            assert!(message(&ours).contains(fixed), "{place}: {ours}");
        }
    }
    if ["no update in progress", "is not allowed to", "not writeable"]
        .iter()
        .any(|fixed| message(&theirs).contains(fixed))
    {
        assert_eq!(message(&ours), message(&theirs), "{place}");
    }
    let determined = [
        "/status",
        "/manifest",
        "/update",
        "/update-manifest",
        "/update-cancel",
        "/monotonic-counter",
        "/secrets?s=token",
        "/secrets?s=token&s=userKey&s=userCert",
    ];
    if determined.iter().any(|end| text("path").ends_with(end))
        && !ours["data"].is_string()
        && ours["data"].get("RecoverySecrets").is_none()
        && ours["data"].get("updateLog").is_none()
    {
        same_determined_values(&theirs["data"], &ours["data"], place);
    }
    if text("path").contains("/quote") && status == 200 {
        let data = ours["data"].as_object().unwrap();
        check_chain(
            data.get("cert")
                .or_else(|| data.get("Cert"))
                .unwrap()
                .as_str()
                .unwrap(),
        );
    }
    if text("path").ends_with("/update") && text("method") == "GET" && status == 200 {
        check_update_log(&theirs["data"], &ours["data"], place);
    }
    if let Some(secrets) = ours["data"].get("RecoverySecrets") {
        let secret = STANDARD.decode(secrets["one"].as_str().unwrap()).unwrap();
        assert_eq!(
            open_recovery_secret(&secret).len(),
            32,
            "{place}: the data key of p384-aes256"
        );
    }
}

/// Fields that stand beside one of the original's in our replies (`docs/compatibility.md`).
const MORE: [(&str, &str); 1] = [("updateLog", "updateLogHashes")];

/// Fields of entries of the update log that the original has not (`docs/compatibility.md`).
const MORE_IN_ENTRIES: &str = "loweredSecurityVersions";

/// Same types everywhere, same names in objects. Lists: each of ours as the first of theirs.
fn same_shape(theirs: &Value, ours: &Value, place: &str) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            let (mut expected, mut found) = (names(theirs), names(ours));
            let more = MORE.iter().filter(|(beside, _)| theirs.contains_key(*beside));
            expected.extend(more.map(|(_, name)| (*name).to_owned()));
            expected.sort();
            found.sort();
            assert_eq!(expected, found, "{place}");
            for (name, value) in theirs {
                same_shape(value, &ours[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            assert_eq!(theirs.is_empty(), ours.is_empty(), "{place}");
            for value in ours {
                same_shape(&theirs[0], value, place);
            }
        }
        (Value::String(theirs), Value::String(ours)) => {
            assert_eq!(theirs.is_empty(), ours.is_empty(), "{place}: {ours}");
        }
        (theirs, ours) => assert_eq!(
            std::mem::discriminant(theirs),
            std::mem::discriminant(ours),
            "{place}: {ours}"
        ),
    }
}

/// Everything but signatures.
fn same_determined_values(theirs: &Value, ours: &Value, place: &str) {
    for (name, value) in theirs.as_object().into_iter().flatten() {
        if !name.to_ascii_lowercase().ends_with("signaturerootecdsa") {
            assert_eq!(value, &ours[name], "{place}: {name}");
        }
    }
}

fn check_chain(pem: &str) {
    let blocks: Vec<_> = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    let certificates: Vec<_> = blocks.iter().map(|block| block.parse_x509().unwrap()).collect();
    let [intermediate, root] = certificates.as_slice() else {
        panic!("{} certificates", certificates.len())
    };
    assert_eq!(
        intermediate.subject().to_string(),
        "CN=MarbleRun Coordinator - Intermediate CA"
    );
    assert_eq!(root.subject().to_string(), "CN=MarbleRun Coordinator");
    assert_eq!(intermediate.issuer(), root.subject());
    let ecdsa_with_sha384 = "1.2.840.10045.4.3.3";
    assert_eq!(
        intermediate.signature_algorithm.algorithm.to_id_string(),
        ecdsa_with_sha384
    );
}

fn check_update_log(theirs: &Value, ours: &Value, place: &str) {
    let lines = |data: &Value| -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        match data {
            Value::String(text) => {
                assert!(text.ends_with('\n'), "{place}");
                text.lines().map(parse).collect()
            }
            data => data["updateLog"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| parse(line.as_str().unwrap()))
                .collect(),
        }
    };
    let (theirs, mut ours) = (lines(theirs), lines(ours));
    for entry in &mut ours {
        entry.as_object_mut().unwrap().remove(MORE_IN_ENTRIES);
    }
    assert_eq!(theirs.len(), ours.len(), "{place}");
    for (theirs, ours) in theirs.iter().zip(&ours) {
        same_shape(theirs, ours, place);
        assert_eq!(theirs["update"], ours["update"], "{place}");
        let time = |line: &Value| {
            line["time"]
                .as_str()
                .unwrap()
                .replace(|c: char| c.is_ascii_digit(), "0")
        };
        assert_eq!(time(theirs), time(ours), "{place}: the form of the time");
    }
    // Secrets that were written together stand in any order.
    let without_time = |lines: &[Value]| {
        let mut lines: Vec<String> = lines
            .iter()
            .map(|line| {
                let mut line = line.clone();
                line.as_object_mut().unwrap().remove("time");
                line.to_string()
            })
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(without_time(&theirs), without_time(&ours), "{place}");
}

pub fn open_recovery_secret(secret: &[u8]) -> Vec<u8> {
    let pem = x509_parser::pem::parse_x509_pem(include_bytes!("../golden/recovery-one.key.pem"))
        .unwrap()
        .1;
    let key = aws_lc_rs::rsa::PrivateDecryptingKey::from_pkcs8(&pem.contents).unwrap();
    let key = aws_lc_rs::rsa::OaepPrivateDecryptingKey::new(key).unwrap();
    let mut plain = vec![0; key.min_output_size()];
    key.decrypt(&aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256, secret, &mut plain, None)
        .unwrap()
        .to_vec()
}

/// The identity of the marble, if it was activated.
async fn activate(program: &Program, exchange: &Value, place: &str) -> Option<ClientIdentity> {
    let (request, recorded) = (&exchange["request"], &exchange["response"]);
    let text = |name: &str| request[name].as_str().unwrap().to_owned();
    let csr = x509_parser::pem::parse_x509_pem(text("csr_pem").as_bytes())
        .unwrap()
        .1
        .contents;
    let send = async || {
        let request = ActivationReq {
            quote: Vec::new(),
            csr: csr.clone(),
            marble_type: text("MarbleType"),
            uuid: text("UUID"),
        };
        program
            .marble()
            .await
            .activate(request)
            .await
            .map(|reply| reply.into_inner().parameters.unwrap())
    };
    match (send().await, recorded.get("ok")) {
        (Ok(ours), Some(theirs)) => {
            same_parameters(theirs, &ours, place);
            // The same instance gets the same derived keys again, if it has activations to spare.
            if text("MarbleType") != "backend" {
                assert_eq!(ours.env["PRIV"], send().await.unwrap().env["PRIV"], "{place}");
            }
            Some(ClientIdentity::of_marble(&ours))
        }
        (Err(status), None) => {
            let code = format!("{:?}", status.code()).to_ascii_uppercase();
            assert_eq!(
                code,
                recorded["code"].as_str().unwrap().replace('_', ""),
                "{place}: {status}"
            );
            assert!(!status.message().is_empty(), "{place}");
            None
        }
        (Ok(_), None) => panic!("{place}: the original refused"),
        (Err(status), Some(_)) => panic!("{place}: {status}"),
    }
}

fn same_parameters(theirs: &Value, ours: &Parameters, place: &str) {
    for (section, ours) in [("Files", &ours.files), ("Env", &ours.env)] {
        let theirs = theirs[section].as_object().unwrap();
        let mut names: Vec<_> = ours.keys().cloned().collect();
        names.sort();
        assert_eq!(
            theirs.keys().cloned().collect::<Vec<_>>(),
            names,
            "{place}: {section}"
        );
        for (name, theirs) in theirs {
            let theirs = STANDARD.decode(theirs.as_str().unwrap()).unwrap();
            assert_eq!(form(&theirs), form(&ours[name]), "{place}: {section} {name}");
            // What is no secret, or was uploaded.
            let determined = [
                "A",
                "TOKEN",
                "UNSET",
                "/plain.txt",
                "/b64.bin",
                "/untouched",
                "/logic",
            ];
            if determined.contains(&name.as_str()) {
                assert_eq!(theirs, ours[name], "{place}: {section} {name}");
            }
        }
    }
    let argv: Vec<_> = theirs["Argv"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| argument.as_str().unwrap())
        .collect();
    assert_eq!(ours.argv, argv, "{place}");
}

/// What two values have in common that were made the same way: the kinds of their PEM blocks, or their length and the
/// places of their letters and digits.
fn form(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    if text.contains("-----BEGIN") {
        return text.lines().filter(|line| line.starts_with("-----")).collect();
    }
    let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let kind = if hex { "hex" } else { "other" };
    match value.len() {
        // RSA keys and their certificates are a few bytes longer or shorter each time.
        length @ 512.. => format!("about {} bytes, {kind}", (length + 50) / 100 * 100),
        length => format!("{length} bytes, {kind}"),
    }
}
