//! `POST update-cancel`: drop the pending update.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use marblerun_wire::rest::{text, v2};

use super::caller::{self, Known};
use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared};

pub(super) async fn post_v1(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match cancel(&rest, request, Version::V1).await {
        Ok(()) => reply::success(text::UPDATE_CANCELLED),
        Err(response) => response,
    }
}

pub(super) async fn post_v2(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match cancel(&rest, request, Version::V2).await {
        Ok(()) => reply::success(v2::Cancelled {
            message: text::UPDATE_CANCELLED.to_owned(),
        }),
        Err(response) => response,
    }
}

async fn cancel(rest: &Rest, request: Request<Body>, version: Version) -> Result<(), Response> {
    let Known { caller, leaf, body } = caller::user(rest, request, version).await?;
    let cancelled = rest.service.cancel_update(leaf).await;
    // There is nothing to send; who does all the same gets to read the reply.
    rest.bodies.discard(body).await;
    cancelled.map_err(|refusal| reply::refusal(version, RefusedAs::ServerError, &refusal))?;
    tracing::info!(user = %caller.name(), "the pending update was cancelled");
    Ok(())
}
