//! What every reply travels in (JSend).

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::body::{BodyError, read_body};
use super::json::go_json;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReplyStatus {
    /// Done; the HTTP status is 200, always.
    Success,
    /// Version 2 only: the request is at fault (400) or the certificate is (401).
    Fail,
    /// Refused or not possible.
    Error,
}

/// A reply: `{"status":…,"data":…,"message":…}`. `data` is always present, `message` is left out when empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reply<T> {
    /// What became of the request.
    pub status: ReplyStatus,
    /// What was asked for; `null` in errors, as a rule.
    pub data: T,
    /// Why not; empty on success.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl<T> Reply<T> {
    /// The request was granted.
    pub fn success(data: T) -> Self {
        Self {
            status: ReplyStatus::Success,
            data,
            message: String::new(),
        }
    }

    /// The request is at fault; `data` says more than `message` alone.
    pub fn fail(data: T, message: impl Into<String>) -> Self {
        Self {
            status: ReplyStatus::Fail,
            data,
            message: message.into(),
        }
    }
}

impl Reply<()> {
    /// The request was refused.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            status: ReplyStatus::Error,
            data: (),
            message: message.into(),
        }
    }
}

/// The body of a reply or request, as existing servers write it: compact, with a final newline.
///
/// # Errors
/// Only for values that JSON has no place for; the types of this module have none.
pub fn to_body<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(256);
    go_json(&mut body, value)?;
    body.push(b'\n');
    Ok(body)
}

/// [`to_body`] for values that hold secrets: into a buffer that is sized beforehand, so that growing leaves no
/// copies behind, and wiped when dropped.
///
/// # Errors
/// As [`to_body`].
pub fn to_secret_body<T: Serialize>(value: &T) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut counter = Counter(1);
    go_json(&mut counter, value)?;
    let mut body = Zeroizing::new(Vec::with_capacity(counter.0));
    go_json(&mut *body, value)?;
    body.push(b'\n');
    Ok(body)
}

/// Reads a reply whose data is a `T` on success; otherwise the data is dropped.
///
/// # Errors
/// The body is no JSend reply, or its data no `T`; names the place, never a value.
pub fn read_reply<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<Reply<Option<T>>, BodyError> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        status: ReplyStatus,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(default, deserialize_with = "super::body::null_is_default")]
        message: String,
    }
    // Not through `read_body`, which cannot keep `data` unread. The texts of these errors quote at most the
    // value of `status` or `message`, neither of which holds a secret.
    let envelope: Envelope<'de> =
        serde_json::from_slice(body).map_err(|error| BodyError::new(error.to_string()))?;
    let data = match envelope.status {
        ReplyStatus::Success => {
            let data = envelope.data.map_or("null", RawValue::get);
            Some(read_body(data.as_bytes()).map_err(|error| BodyError::new(format!("data: {error}")))?)
        }
        ReplyStatus::Fail | ReplyStatus::Error => None,
    };
    Ok(Reply {
        status: envelope.status,
        data,
        message: envelope.message,
    })
}

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Base64Secret, v2};
    use super::*;

    fn text<T: Serialize>(value: &T) -> String {
        String::from_utf8(to_body(value).unwrap()).unwrap()
    }

    #[test]
    fn data_is_always_there_and_an_empty_message_never() {
        assert_eq!(
            text(&Reply::success(())),
            "{\"status\":\"success\",\"data\":null}\n"
        );
        assert_eq!(text(&Reply::error("")), "{\"status\":\"error\",\"data\":null}\n");
        assert_eq!(
            text(&Reply::error("no update in progress")),
            "{\"status\":\"error\",\"data\":null,\"message\":\"no update in progress\"}\n"
        );
        assert_eq!(
            text(&Reply::fail((), "bad <nonce>")),
            "{\"status\":\"fail\",\"data\":null,\"message\":\"bad \\u003cnonce\\u003e\"}\n"
        );
    }

    #[test]
    fn replies_are_read_back() {
        let reply: Reply<Option<v2::Status>> =
            read_reply(br#"{"status":"success","data":{"code":2,"message":"x"}}"#).unwrap();
        assert_eq!(reply.data.unwrap().code, 2);
        let reply: Reply<Option<v2::Status>> =
            read_reply(br#"{"status":"fail","data":{"sgxQuote":"why"},"message":"no"}"#).unwrap();
        assert_eq!(
            (reply.status, reply.data, reply.message.as_str()),
            (ReplyStatus::Fail, None, "no")
        );
        let reply: Reply<Option<()>> = read_reply(br#"{"status":"success"}"#).unwrap();
        assert_eq!(reply.data, Some(()));
        assert!(read_reply::<()>(br#"{"status":"maybe","data":null}"#).is_err());
        assert!(read_reply::<()>(b"<html>").is_err());
        let error =
            read_reply::<v2::Status>(br#"{"status":"success","data":{"code":"hunter2"}}"#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("data: code: invalid type: a string"),
            "{error}"
        );
    }

    #[test]
    fn secret_bodies_are_sized_beforehand() {
        let secret = Base64Secret::new(Zeroizing::new(vec![7; 1000]));
        let reply = Reply::success(Some(secret));
        let body = to_secret_body(&reply).unwrap();
        assert_eq!(*body, to_body(&reply).unwrap());
        assert_eq!(body.len(), body.capacity());
    }
}
