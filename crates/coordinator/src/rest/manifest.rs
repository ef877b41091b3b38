//! `GET manifest`, `POST manifest`: read the manifest in force, set the first one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{Request, StatusCode};
use marblerun_core::flow::inspect::{self, ManifestView};
use marblerun_core::flow::set_manifest;
use marblerun_core::manifest::Name;
use marblerun_core::refusal::Refusal;
use marblerun_wire::rest::v2::SendManifest;
use marblerun_wire::rest::{Base64Bytes, MAXIMUM_OTHER_BODY, Named, Reply, read_body, to_body, v1, v2};

use super::body::{Bodies, Received};
use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared};

pub(super) async fn get_v1(State(rest): State<Shared>) -> Response {
    match inspect::manifest(&rest.service.snapshot()) {
        None => reply::success(v1::Manifest::default()),
        Some(view) => rest.manifest_replies.answer(&view, Version::V1),
    }
}

pub(super) async fn get_v2(State(rest): State<Shared>) -> Response {
    match inspect::manifest(&rest.service.snapshot()) {
        None => reply::error(StatusCode::INTERNAL_SERVER_ERROR, "requested value not set"),
        Some(view) => rest.manifest_replies.answer(&view, Version::V2),
    }
}

pub(super) async fn post_v1(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match set(&rest, request, Version::V1).await {
        Ok(secrets) if secrets.recovery_secrets.0.is_empty() => reply::success(()),
        Ok(secrets) => reply::success(secrets),
        Err(response) => response,
    }
}

pub(super) async fn post_v2(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match set(&rest, request, Version::V2).await {
        Ok(secrets) => reply::success(secrets),
        Err(response) => response,
    }
}

/// The manifest in a body: the body itself in version 1, in base64 in version 2.
pub(super) async fn receive(
    rest: &Rest,
    bodies: &Bodies,
    body: Body,
    version: Version,
) -> Result<Received, Response> {
    let largest = rest.service.limits().bytes;
    let limit = match version {
        Version::V1 => largest,
        // base64 may be broken into lines, and other fields may stand beside it.
        Version::V2 => largest / 3 * 4 + MAXIMUM_OTHER_BODY,
    };
    let body = bodies
        .read(body, limit)
        .await
        .map_err(|refusal| reply::unread(version, refusal))?;
    match version {
        Version::V1 => Ok(body),
        Version::V2 => match read_body::<SendManifest>(body.as_ref()) {
            Ok(SendManifest { manifest }) if manifest.0.is_empty() => Err(reply::bad_request(
                version,
                "manifest: missing or empty, expected {\"manifest\": \"<base64 of the manifest>\"}"
                    .to_owned(),
            )),
            Ok(SendManifest { manifest }) => Ok(body.replaced_by(manifest.0.into())),
            Err(error) => Err(reply::bad_request(version, error.to_string())),
        },
    }
}

/// Recovery secrets as replies hold them.
pub(super) fn recovery_secrets(secrets: &BTreeMap<Name, Vec<u8>>) -> Named<Base64Bytes> {
    secrets
        .iter()
        .map(|(name, secret)| (name.to_string(), Base64Bytes(secret.clone())))
        .collect()
}

async fn set(rest: &Rest, request: Request<Body>, version: Version) -> Result<v2::ManifestSet, Response> {
    let refuse = |refusal: &Refusal| reply::refusal(version, RefusedAs::BadRequestInV1, refusal);
    // In any other phase not a byte of it is kept.
    if let Err(refusal) = set_manifest::check_phase(&rest.service.snapshot()) {
        rest.bodies_of_strangers.discard(request.into_body()).await;
        return Err(refuse(&refusal));
    }
    let raw = receive(rest, &rest.bodies_of_strangers, request.into_body(), version).await?;
    rest.pace.wait().await;
    let set = rest.service.set_manifest(raw, |_| Ok(())).await;
    let set = set.map_err(|refusal| refuse(&refusal))?;
    for warning in &set.warnings {
        tracing::warn!(warning, "the manifest was set with a warning");
    }
    tracing::info!("a manifest was set");
    Ok(v2::ManifestSet {
        recovery_secrets: recovery_secrets(&set.recovery_secrets),
    })
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
