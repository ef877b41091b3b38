//! `GET manifest`, `POST manifest`: read the manifest in force, set the first one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{Request, StatusCode};
use marblerun_core::flow::inspect::{self, ManifestView};
use marblerun_core::flow::set_manifest;
use marblerun_core::refusal::Refusal;
use marblerun_wire::rest::{Base64Bytes, MAXIMUM_OTHER_BODY, Reply, read_body, to_body, v1, v2};

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::Rest;
use super::body::{BodyRefusal, Received};
use super::reply::{self, RefusedAs, Version};

pub(super) async fn get_v1(State(rest): State<Rest>) -> Response {
    match inspect::manifest(&rest.service.snapshot()) {
        None => reply::success(v1::Manifest::default()),
        Some(view) => rest.manifest_replies.answer(&view, Version::V1),
    }
}

pub(super) async fn get_v2(State(rest): State<Rest>) -> Response {
    match inspect::manifest(&rest.service.snapshot()) {
        None => reply::error(StatusCode::INTERNAL_SERVER_ERROR, "requested value not set"),
        Some(view) => rest.manifest_replies.answer(&view, Version::V2),
    }
}

pub(super) async fn post_v1(State(rest): State<Rest>, request: Request<axum::body::Body>) -> Response {
    let raw = match receive(&rest, request, rest.service.limits().bytes, Version::V1).await {
        Ok(raw) => raw,
        Err(response) => return response,
    };
    match set(&rest, raw).await {
        Ok(secrets) if secrets.recovery_secrets.0.is_empty() => reply::success(()),
        Ok(secrets) => reply::success(secrets),
        Err(refusal) => reply::refusal(Version::V1, RefusedAs::BadRequestInV1, &refusal),
    }
}

pub(super) async fn post_v2(State(rest): State<Rest>, request: Request<axum::body::Body>) -> Response {
    // base64 may be broken into lines, and other fields may stand beside it.
    let limit = rest.service.limits().bytes / 3 * 4 + MAXIMUM_OTHER_BODY;
    let body = match receive(&rest, request, limit, Version::V2).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let manifest = match read_body::<v2::SendManifest>(body.as_ref()) {
        Ok(body) => body.manifest,
        Err(error) => return reply::bad_request(Version::V2, error.to_string()),
    };
    let raw = body.replaced_by(manifest.0.into());
    match set(&rest, raw).await {
        Ok(secrets) => reply::success(secrets),
        Err(refusal) => reply::refusal(Version::V2, RefusedAs::BadRequestInV1, &refusal),
    }
}

/// The body, unless the phase makes it useless: then not a byte of it is kept.
async fn receive(
    rest: &Rest,
    request: Request<axum::body::Body>,
    limit: usize,
    version: Version,
) -> Result<Received, Response> {
    if let Err(refusal) = set_manifest::check_phase(&rest.service.snapshot()) {
        rest.bodies.discard(request.into_body()).await;
        return Err(reply::refusal(version, RefusedAs::BadRequestInV1, &refusal));
    }
    rest.bodies
        .read(request.into_body(), limit)
        .await
        .map_err(|refusal| match refusal {
            BodyRefusal::TooLarge { limit } => reply::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request body is larger than {limit} bytes"),
            ),
            BodyRefusal::TooSlow => {
                reply::error(StatusCode::REQUEST_TIMEOUT, "the request body took too long")
            }
            BodyRefusal::Broken => reply::bad_request(version, "the request body broke off"),
        })
}

async fn set(rest: &Rest, raw: Received) -> Result<v2::ManifestSet, Refusal> {
    rest.pace.wait().await;
    let set = rest.service.set_manifest(raw, |_| Ok(())).await?;
    for warning in &set.warnings {
        tracing::warn!(warning, "the manifest was set with a warning");
    }
    tracing::info!("a manifest was set");
    Ok(v2::ManifestSet {
        recovery_secrets: set
            .recovery_secrets
            .iter()
            .map(|(name, secret)| (name.to_string(), Base64Bytes(secret.clone())))
            .collect(),
    })
}

/// Lets manifests from strangers through one after the other, ten a second at most.
#[derive(Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    async fn wait(&self) {
        const APART: Duration = Duration::from_millis(100);
        let mut last = self.0.lock().await;
        if let Some(last) = *last {
            sleep_until(last + APART).await;
        }
        *last = Some(Instant::now());
    }
}

/// The replies to `GET manifest`, made once for each manifest: they may be large, and strangers may ask often and
/// read slowly.
#[derive(Default)]
pub(super) struct Replies(ArcSwapOption<Ready>);

struct Ready {
    signature: Arc<[u8]>,
    v1: Bytes,
    v2: Bytes,
}

impl Replies {
    fn answer(&self, view: &ManifestView, version: Version) -> Response {
        let known = self
            .0
            .load_full()
            .filter(|ready| Arc::ptr_eq(&ready.signature, &view.signature));
        let ready = match known {
            Some(ready) => ready,
            None => match Ready::new(view) {
                Ok(ready) => {
                    let ready = Arc::new(ready);
                    self.0.store(Some(Arc::clone(&ready)));
                    ready
                }
                Err(error) => {
                    let refusal = Refusal::internal(error);
                    return reply::refusal(version, RefusedAs::ServerError, &refusal);
                }
            },
        };
        reply::success_body(match version {
            Version::V1 => ready.v1.clone(),
            Version::V2 => ready.v2.clone(),
        })
    }
}

impl Ready {
    fn new(view: &ManifestView) -> Result<Self, serde_json::Error> {
        let (signature, manifest) = (
            Base64Bytes(view.signature.to_vec()),
            Base64Bytes(view.raw.to_vec()),
        );
        let fingerprint = view.fingerprint.clone();
        let reply = Reply::success(v2::Manifest {
            signature,
            fingerprint,
            manifest,
        });
        let v2 = to_body(&reply)?.into();
        let v2::Manifest {
            signature,
            fingerprint,
            manifest,
        } = reply.data;
        let reply = Reply::success(v1::Manifest {
            signature: Some(signature),
            fingerprint,
            manifest: Some(manifest),
        });
        Ok(Self {
            signature: Arc::clone(&view.signature),
            v1: to_body(&reply)?.into(),
            v2,
        })
    }
}
