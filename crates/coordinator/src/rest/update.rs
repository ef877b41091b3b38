//! `GET update`, `POST update`: the update log; updates of packages, and proposals of another manifest.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use marblerun_core::refusal::Refusal;
use marblerun_wire::rest::v2;

use super::caller::{self, Known};
use super::progress::Progress;
use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared, manifest};
use crate::service::SentManifest;

pub(super) async fn get_v1(State(rest): State<Shared>) -> Response {
    rest.log_replies.answer(&rest.service, Version::V1).await
}

pub(super) async fn get_v2(State(rest): State<Shared>) -> Response {
    rest.log_replies.answer(&rest.service, Version::V2).await
}

pub(super) async fn post_v1(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match propose(&rest, request, Version::V1).await {
        Ok(progress) => reply::success_saying((), progress.notice()),
        Err(response) => response,
    }
}

pub(super) async fn post_v2(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match propose(&rest, request, Version::V2).await {
        Ok(progress) => {
            let data = v2::UpdateReceived {
                missing_acknowledgments: progress.missing_acknowledgements(),
                missing_users: progress.missing_users(),
                recovery_secrets: progress.recovery_secrets(),
            };
            reply::success_saying(data, progress.notice())
        }
        Err(response) => response,
    }
}

async fn propose(rest: &Rest, request: Request<Body>, version: Version) -> Result<Progress, Response> {
    let Known { caller, leaf, body } = caller::user(rest, request, version).await?;
    let sent = SentManifest {
        leaf,
        raw: manifest::receive(rest, &rest.bodies, body, version).await?,
        may_yield_recovery_secrets: version == Version::V2,
    };
    let refuse = |refusal: Refusal| reply::refusal(version, RefusedAs::BadRequestInV1, &refusal);
    rest.pace.wait().await;
    let outcome = rest.service.propose_update(sent).await.map_err(refuse)?;
    Progress::of(&caller, outcome).map_err(refuse)
}
