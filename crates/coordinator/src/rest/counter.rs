//! `POST monotonic-counter`: counters of marbles, which only rise.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use marblerun_core::manifest::FeatureGate;
use marblerun_wire::rest::{MAXIMUM_OTHER_BODY, read_body, v2};

use super::caller::{self, Known};
use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared};

pub(super) async fn post_v2(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match raise(&rest, request).await {
        Ok(value) => reply::success(v2::CounterSet { value }),
        Err(response) => response,
    }
}

/// The value before.
async fn raise(rest: &Rest, request: Request<Body>) -> Result<u64, Response> {
    let request = super::gated(rest, request, FeatureGate::MonotonicCounter).await?;
    let Known { leaf, body, .. } = caller::marble(rest, request, Version::V2).await?;
    let body = rest.bodies.read(body, MAXIMUM_OTHER_BODY).await;
    let body = body.map_err(|refusal| reply::unread(Version::V2, refusal))?;
    let asked: v2::SetCounter =
        read_body(body.as_ref()).map_err(|error| reply::bad_request(Version::V2, error.to_string()))?;
    let raised = rest.service.raise_counter(leaf, asked.name, asked.value).await;
    match raised {
        Ok(raised) => {
            tracing::debug!(marble_type = %raised.marble_type, uuid = %raised.uuid, "a counter was set");
            Ok(raised.before)
        }
        Err(refusal) => Err(reply::refusal(Version::V2, RefusedAs::ServerError, &refusal)),
    }
}
