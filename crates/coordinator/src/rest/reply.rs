//! Replies, and the one table of codes.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_wire::rest::{Reply, to_body};
use serde::Serialize;

use super::body::BodyRefusal;
use super::log_reply::Chunks;
use crate::observe::counts;

/// Version of the client API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Paths without prefix.
    V1,
    /// Paths below `/api/v2`.
    V2,
}

/// Whether version 1 answers a refusal with 400 where version 2 answers 500 (`spec/05`, "v1").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedAs {
    /// `POST manifest`, `POST update`, `GET secrets`, `POST secrets`.
    BadRequestInV1,
    /// Everything else.
    ServerError,
}

/// The code of a refusal. The only place where kinds become codes.
fn code(version: Version, refused_as: RefusedAs, kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        RefusalKind::FeatureDisabled => StatusCode::FORBIDDEN,
        RefusalKind::Malformed => StatusCode::BAD_REQUEST,
        RefusalKind::NotFound => StatusCode::NOT_FOUND,
        RefusalKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        RefusalKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        RefusalKind::WrongPhase | RefusalKind::Invalid | RefusalKind::Denied | RefusalKind::Conflict => {
            match (version, refused_as) {
                (Version::V1, RefusedAs::BadRequestInV1) => StatusCode::BAD_REQUEST,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            }
        }
    }
}

/// 200 with data.
pub fn success<T: Serialize>(data: T) -> Response {
    send(StatusCode::OK, &Reply::success(data))
}

/// 200 with data and something to say beside it.
pub fn success_saying<T: Serialize>(data: T, message: String) -> Response {
    let mut reply = Reply::success(data);
    reply.message = message;
    send(StatusCode::OK, &reply)
}

/// 200 with a body made before.
pub fn success_body(body: Bytes) -> Response {
    with_body(StatusCode::OK, body)
}

/// 200 with a body in pieces.
pub(super) fn success_chunks(body: Chunks) -> Response {
    with_body(StatusCode::OK, Body::new(body))
}

/// A refusal by a rule. What only the log may know goes there.
pub fn refusal(version: Version, refused_as: RefusedAs, refusal: &Refusal) -> Response {
    counts::refused(refusal.kind());
    match refusal.kind() {
        RefusalKind::Internal => {
            tracing::error!(
                message = refusal.message(),
                detail = refusal.detail(),
                "internal error"
            );
        }
        kind => tracing::debug!(
            ?kind,
            reason = refusal.message(),
            detail = refusal.detail(),
            "refused"
        ),
    }
    let code = code(version, refused_as, refusal.kind());
    match (version, refusal.kind()) {
        // Version 1 knows no `fail`.
        (Version::V2, RefusalKind::Unauthenticated | RefusalKind::Malformed) => {
            send(code, &Reply::fail((), refusal.message()))
        }
        _ => error(code, refusal.message()),
    }
}

/// An error with a message of ours.
pub fn error(code: StatusCode, message: impl Into<String>) -> Response {
    send(code, &Reply::error(message))
}

/// A request that cannot be read: 400, `fail` in version 2, which version 1 does not know.
pub fn bad_request(version: Version, message: impl Into<String>) -> Response {
    match version {
        Version::V1 => error(StatusCode::BAD_REQUEST, message),
        Version::V2 => send(StatusCode::BAD_REQUEST, &Reply::fail((), message)),
    }
}

/// A request that cannot be carried out in the form it has, with data that says more: 400, version 2 only.
pub fn bad_request_with<T: Serialize>(data: T, message: impl Into<String>) -> Response {
    send(StatusCode::BAD_REQUEST, &Reply::fail(data, message))
}

/// Why a body was not read.
pub(super) fn unread(version: Version, refusal: BodyRefusal) -> Response {
    match refusal {
        BodyRefusal::TooLarge { limit } => error(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body is larger than {limit} bytes"),
        ),
        BodyRefusal::TooSlow => error(StatusCode::REQUEST_TIMEOUT, "the request body took too long"),
        BodyRefusal::Crowded => error(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests are being received; try again",
        ),
        BodyRefusal::Broken => bad_request(version, "the request body broke off"),
    }
}

/// A path or method there is not: 405 without a message.
pub fn not_allowed() -> Response {
    counts::no_such_operation();
    error(StatusCode::METHOD_NOT_ALLOWED, "")
}

/// What a request gets whose handler panicked.
pub fn after_panic() -> Response {
    counts::refused(RefusalKind::Internal);
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error, see the Coordinator's log",
    )
}

fn send<T: Serialize>(code: StatusCode, reply: &Reply<T>) -> Response {
    match to_body(reply) {
        Ok(body) => with_body(code, body),
        Err(error) => unwritable(&error),
    }
}

/// What a request gets whose reply cannot be written.
pub(super) fn unwritable(error: &serde_json::Error) -> Response {
    counts::refused(RefusalKind::Internal);
    tracing::error!(%error, "a reply could not be written as JSON");
    const FALLBACK: &[u8] = b"{\"status\":\"error\",\"data\":null,\"message\":\"internal error\"}\n";
    with_body(StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(FALLBACK))
}

fn with_body(code: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        use RefusalKind::*;
        let codes = |version, refused_as| {
            [
                WrongPhase,
                Invalid,
                Denied,
                NotFound,
                Conflict,
                TooLarge,
                Unavailable,
                Internal,
                Unauthenticated,
                FeatureDisabled,
                Malformed,
            ]
            .map(|kind| code(version, refused_as, kind).as_u16())
        };
        let v2 = [500, 500, 500, 404, 500, 413, 503, 500, 401, 403, 400];
        assert_eq!(codes(Version::V2, RefusedAs::ServerError), v2);
        assert_eq!(codes(Version::V2, RefusedAs::BadRequestInV1), v2);
        assert_eq!(codes(Version::V1, RefusedAs::ServerError), v2);
        assert_eq!(
            codes(Version::V1, RefusedAs::BadRequestInV1),
            [400, 400, 400, 404, 400, 413, 503, 500, 401, 403, 400]
        );
    }
}
