//! `POST state/export`: the state in the format of the original.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use marblerun_wire::rest::{Base64Bytes, v2};

use super::caller::{self, Known};
use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared};

pub(super) async fn export_v2(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match export(&rest, request).await {
        Ok(exported) => reply::success(exported),
        Err(response) => response,
    }
}

async fn export(rest: &Rest, request: Request<Body>) -> Result<v2::StateExported, Response> {
    let Known { leaf, body, .. } = caller::user(rest, request, Version::V2).await?;
    // There is nothing to send; who does all the same gets to read the reply.
    rest.bodies.discard(body).await;
    rest.pace.wait().await;
    let exported = rest
        .service
        .export_state(leaf)
        .await
        .map_err(|refusal| reply::refusal(Version::V2, RefusedAs::ServerError, &refusal))?;
    tracing::warn!(
        user = %exported.caller.name(),
        "the state was exported in the format of the original: whoever has the recovery secrets can open the copy"
    );
    Ok(v2::StateExported {
        sealed_data: Base64Bytes(exported.sealed_data),
    })
}
