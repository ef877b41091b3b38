//! `POST recover`, `GET recover/public-key`: hand in recovery secrets while a state waits for them. `POST /recover`
//! of version 1 is gone for good and points at version 2.

use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use marblerun_wire::rest::{Base64Bytes, MAXIMUM_RECOVER_BODY, read_body, text, v2};

use super::Shared;
use super::reply::{self, RefusedAs, Version};
use crate::recovery::RecoverRefusal;

pub(super) async fn post_v1() -> Response {
    reply::error(StatusCode::GONE, text::RECOVER_V1_GONE)
}

pub(super) async fn post_v2(State(rest): State<Shared>, request: Request<axum::body::Body>) -> Response {
    if let Err(refusal) = rest.service.recovery_desk() {
        rest.bodies_of_strangers.discard(request.into_body()).await;
        return reply::refusal(Version::V2, RefusedAs::ServerError, &refusal);
    }
    let body = rest
        .bodies_of_strangers
        .read(request.into_body(), MAXIMUM_RECOVER_BODY)
        .await;
    let body = match body {
        Ok(body) => body,
        Err(refusal) => return reply::unread(Version::V2, refusal),
    };
    let sent = match read_body::<v2::Recover>(body.as_ref()) {
        Ok(sent) => sent,
        Err(error) => return reply::bad_request(Version::V2, error.to_string()),
    };
    let secret = sent.recovery_secret.expose();
    match rest
        .service
        .recover(secret, &sent.recovery_secret_signature.0)
        .await
    {
        Ok(remaining) => reply::success(v2::Recovered {
            remaining,
            message: text::recovery_message(remaining),
        }),
        Err(refusal @ RecoverRefusal::DoesNotDecrypt) => reply::bad_request(Version::V2, refusal.to_string()),
        Err(RecoverRefusal::Refused(refusal)) => {
            reply::refusal(Version::V2, RefusedAs::ServerError, &refusal)
        }
    }
}

pub(super) async fn public_key(State(rest): State<Shared>) -> Response {
    match rest.service.recovery_public_key().await {
        Ok(public_key) => reply::success(v2::RecoveryPublicKey {
            algorithm: "RSA".to_owned(),
            ephemeral_public_key: Base64Bytes(public_key.to_vec()),
        }),
        Err(refusal) => reply::refusal(Version::V2, RefusedAs::ServerError, &refusal),
    }
}
