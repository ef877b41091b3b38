//! `GET update`: the update log.

use axum::extract::State;
use axum::response::Response;
use marblerun_core::flow::inspect;
use marblerun_wire::rest::{v1, v2};

use super::Rest;
use super::reply::{self, RefusedAs, Version};

pub(super) async fn get_v1(State(rest): State<Rest>) -> Response {
    match inspect::update_log(&rest.service.snapshot()) {
        Ok(entries) => reply::success(v1::update_log(&entries)),
        Err(refusal) => reply::refusal(Version::V1, RefusedAs::ServerError, &refusal),
    }
}

pub(super) async fn get_v2(State(rest): State<Rest>) -> Response {
    match inspect::update_log(&rest.service.snapshot()) {
        Ok(entries) => {
            let update_log = entries.iter().map(ToString::to_string).collect();
            reply::success(v2::UpdateLog { update_log })
        }
        Err(refusal) => reply::refusal(Version::V2, RefusedAs::ServerError, &refusal),
    }
}
