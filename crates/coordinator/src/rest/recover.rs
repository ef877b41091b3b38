//! `POST /recover` of version 1: gone for good, pointing at version 2.

use axum::response::Response;
use http::StatusCode;
use marblerun_wire::rest::text;

use super::reply;

pub(super) async fn post_v1() -> Response {
    reply::error(StatusCode::GONE, text::RECOVER_V1_GONE)
}
