//! Bodies of the client API, requests and replies: what is read and written again reads the same.

use marblerun_wire::rest::{
    Base64Bytes, decode_nonce, encode_nonce, read_body, read_reply, to_body, to_secret_body, v1, v2,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cursor::with_mode;

/// The types, by number.
const KINDS: &[fn(&[u8])] = &[
    kind::<v1::Status>,
    kind::<v1::Quote>,
    kind::<v1::Manifest>,
    kind::<v2::Status>,
    kind::<v2::Quote>,
    kind::<v2::Manifest>,
    kind::<v2::SendManifest>,
    kind::<v2::ManifestSet>,
    kind::<v2::Secrets>,
    kind::<v2::UploadSecrets>,
    kind::<v2::UpdateLog>,
    kind::<v2::UpdateReceived>,
    kind::<v2::PendingUpdate>,
    kind::<v2::Acknowledged>,
    kind::<v2::Cancelled>,
    kind::<v2::Recover>,
    kind::<v2::Recovered>,
    kind::<v2::RecoveryPublicKey>,
    kind::<v2::SignQuote>,
    kind::<v2::QuoteSigned>,
    kind::<v2::QuoteRefused>,
    kind::<v2::SetCounter>,
    kind::<v2::CounterSet>,
    texts,
];

pub fn run(input: &[u8]) {
    let Some((&number, body)) = input.split_first() else {
        return;
    };
    if let Some(kind) = KINDS.get(usize::from(number) % KINDS.len()) {
        kind(body);
    }
}

fn kind<T: DeserializeOwned + Serialize>(body: &[u8]) {
    match read_body::<T>(body) {
        Ok(value) => {
            let written = to_secret_body(&value).unwrap();
            let Ok(again) = read_body::<T>(&written) else {
                panic!("what was written does not read")
            };
            assert!(
                *to_secret_body(&again).unwrap() == *written,
                "another value comes back"
            );
            assert!(to_body(&value).unwrap() == **written);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = read_reply::<T>(body);
}

/// Texts inside bodies and queries.
fn texts(input: &[u8]) {
    assert!(decode_nonce(&encode_nonce(input)).is_ok_and(|nonce| nonce == input));
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = decode_nonce(text);
        if let Ok(bytes) = Base64Bytes::decode(text) {
            assert!(Base64Bytes::decode(&bytes.encode()) == Ok(bytes));
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"Manifest": "e30="}"#,
        r#"{"manifest": "e30=", "Nonsense": [1, {"a": null}]}"#,
        r#"{"secrets": {"x": {"Key": "AAEC"}, "y": {"Cert": "AA==", "Private": "AA=="}}}"#,
        r#"{"RecoverySecret": "AAEC", "Signature": null}"#,
        r#"{"status":"success","data":{"StatusCode":3,"StatusMessage":"ok"},"message":""}"#,
        r#"{"name": "a", "value": 18446744073709551615, "Quote": "AA=="}"#,
        r#"{"updateLog": ["{}"], "missingUsers": ["a"], "missingAcknowledgements": 1}"#,
        "[]",
        "AAEC\r\n/+8=",
    ];
    let kinds = u8::try_from(KINDS.len()).unwrap_or(u8::MAX);
    (0..kinds)
        .flat_map(|kind| bodies.map(|body| with_mode(kind, body.as_bytes())))
        .collect()
}
