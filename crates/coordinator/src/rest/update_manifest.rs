//! `GET update-manifest`, `POST update-manifest`: look at the pending update, acknowledge it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::body::Body;
use axum::extract;
use axum::response::Response;
use bytes::Bytes;
use http::Request;
use marblerun_core::change::Missing;
use marblerun_core::flow::update_manifest::{self, PendingView, Waiting};
use marblerun_core::refusal::Refusal;
use marblerun_core::state::State;
use marblerun_wire::rest::{Base64Bytes, Reply, to_body, v2};

use super::caller::{self, Known};
use super::progress::{self, Progress};
use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared, manifest};
use crate::service::SentManifest;

pub(super) async fn get_v1(extract::State(rest): extract::State<Shared>) -> Response {
    get(&rest, Version::V1)
}

pub(super) async fn get_v2(extract::State(rest): extract::State<Shared>) -> Response {
    get(&rest, Version::V2)
}

pub(super) async fn post_v1(
    extract::State(rest): extract::State<Shared>,
    request: Request<Body>,
) -> Response {
    match acknowledge(&rest, request, Version::V1).await {
        Ok(progress) => reply::success(progress.message()),
        Err(response) => response,
    }
}

pub(super) async fn post_v2(
    extract::State(rest): extract::State<Shared>,
    request: Request<Body>,
) -> Response {
    match acknowledge(&rest, request, Version::V2).await {
        Ok(progress) => reply::success(v2::Acknowledged {
            message: progress.message_with_names(),
            missing_users: progress.missing_users(),
            missing_acknowledgments: progress.missing_acknowledgements(),
            recovery_secrets: progress.recovery_secrets(),
        }),
        Err(response) => response,
    }
}

fn get(rest: &Rest, version: Version) -> Response {
    let state = rest.service.snapshot();
    let pending = update_manifest::pending(&state);
    match pending.and_then(|view| rest.pending_reply.body(&state, view)) {
        Ok(body) => reply::success_body(body),
        Err(refusal) => {
            rest.pending_reply.0.store(None);
            reply::refusal(version, RefusedAs::ServerError, &refusal)
        }
    }
}

async fn acknowledge(rest: &Rest, request: Request<Body>, version: Version) -> Result<Progress, Response> {
    let Known { caller, leaf, body } = caller::user(rest, request, version).await?;
    let sent = SentManifest {
        leaf,
        raw: manifest::receive(rest, &rest.bodies, body, version).await?,
        may_yield_recovery_secrets: version == Version::V2,
    };
    let refuse = |refusal: Refusal| reply::refusal(version, RefusedAs::ServerError, &refusal);
    rest.pace.wait().await;
    let outcome = rest.service.acknowledge_update(sent).await.map_err(refuse)?;
    Progress::of(&caller, outcome).map_err(refuse)
}

/// The reply to `GET update-manifest`, the same in both versions and made once for each state of the pending update: it
/// may be large, and strangers may ask often and read slowly.
#[derive(Default)]
pub(super) struct PendingReply(ArcSwapOption<Ready>);

struct Ready {
    manifest: Arc<[u8]>,
    missing: Missing,
    body: Bytes,
}

impl PendingReply {
    fn body(&self, state: &State, view: PendingView) -> Result<Bytes, Refusal> {
        let known = self
            .0
            .load_full()
            .filter(|ready| Arc::ptr_eq(&ready.manifest, &view.manifest) && ready.missing == view.missing);
        if let Some(ready) = known {
            return Ok(ready.body.clone());
        }
        let waiting = Waiting {
            missing: view.missing,
            lowered: update_manifest::lowered_by_pending(state)?,
        };
        let reply = Reply::success(v2::PendingUpdate {
            manifest: Base64Bytes(view.manifest.to_vec()),
            message: waiting.message(),
            missing_users: Some(progress::names(&waiting.missing)),
        });
        let body = Bytes::from(to_body(&reply).map_err(Refusal::internal)?);
        self.0.store(Some(Arc::new(Ready {
            manifest: view.manifest,
            missing: waiting.missing,
            body: body.clone(),
        })));
        Ok(body)
    }
}
