//! `GET status`: what the Coordinator is ready for. 200 in every phase, for probes ask for it.

use axum::extract::State;
use axum::response::Response;
use marblerun_core::flow::inspect;
use marblerun_wire::rest::{v1, v2};

use super::{Shared, reply};

pub(super) async fn v1(State(rest): State<Shared>) -> Response {
    let phase = inspect::status(&rest.service.snapshot());
    reply::success(v1::Status {
        status_code: phase.code(),
        status_message: phase.message().to_owned(),
    })
}

pub(super) async fn v2(State(rest): State<Shared>) -> Response {
    let phase = inspect::status(&rest.service.snapshot());
    reply::success(v2::Status {
        code: phase.code(),
        message: phase.message().to_owned(),
    })
}
