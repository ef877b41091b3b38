//! The client API (`spec/05`): HTTPS, JSend, versions 1 and 2.
//!
//! One file per resource. The versions differ in the shape of their replies and in their codes ([`reply`]), never
//! in what happens. Handlers translate; rules are in `marblerun_core`.

mod body;
mod caller;
mod counter;
mod cross_site;
mod log_reply;
mod manifest;
mod places;
mod progress;
mod quote;
mod recover;
pub mod reply;
mod secret_reply;
mod secrets;
mod sign_quote;
mod state;
mod status;
mod update;
mod update_cancel;
mod update_manifest;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::Bytes;
use http::Request;
use marblerun_core::manifest::FeatureGate;
use marblerun_wire::rest::path;
use reply::{RefusedAs, Version};

use crate::config::LogLevel;
use crate::listen::Api;
use crate::observe::requests;
use crate::pace::Pace;
use crate::service::Service;

/// What the handlers share.
type Shared = Arc<Rest>;

struct Rest {
    service: Service,
    /// Of users and marbles.
    bodies: body::Bodies,
    /// Of anybody, where anybody may send something.
    bodies_of_strangers: body::Bodies,
    manifest_replies: manifest::Replies,
    pending_reply: update_manifest::PendingReply,
    log_replies: log_reply::LogReplies,
    secret_replies: secret_reply::SecretReplies,
    pace: Pace,
}

/// The client API of a Coordinator.
pub fn api(service: Service, error_level: LogLevel) -> Api {
    let rest = Arc::new(Rest {
        service,
        bodies: body::Bodies::new(),
        bodies_of_strangers: body::Bodies::new(),
        manifest_replies: manifest::Replies::default(),
        pending_reply: update_manifest::PendingReply::default(),
        log_replies: log_reply::LogReplies::default(),
        secret_replies: secret_reply::SecretReplies::default(),
        pace: Pace::default(),
    });
    let router = Router::new()
        .route(path::V1_STATUS, get(status::v1))
        .route(path::V2_STATUS, get(status::v2))
        .route(path::V1_QUOTE, get(quote::v1))
        .route(path::V2_QUOTE, get(quote::v2))
        .route(
            path::V1_MANIFEST,
            get(manifest::get_v1).on(MethodFilter::POST, manifest::post_v1),
        )
        .route(
            path::V2_MANIFEST,
            get(manifest::get_v2).on(MethodFilter::POST, manifest::post_v2),
        )
        .route(
            path::V1_SECRETS,
            get(secrets::get_v1).on(MethodFilter::POST, secrets::post_v1),
        )
        .route(
            path::V2_SECRETS,
            get(secrets::get_v2).on(MethodFilter::POST, secrets::post_v2),
        )
        .route(
            path::V1_UPDATE,
            get(update::get_v1).on(MethodFilter::POST, update::post_v1),
        )
        .route(
            path::V2_UPDATE,
            get(update::get_v2).on(MethodFilter::POST, update::post_v2),
        )
        .route(
            path::V1_UPDATE_MANIFEST,
            get(update_manifest::get_v1).on(MethodFilter::POST, update_manifest::post_v1),
        )
        .route(
            path::V2_UPDATE_MANIFEST,
            get(update_manifest::get_v2).on(MethodFilter::POST, update_manifest::post_v2),
        )
        .route(path::V1_UPDATE_CANCEL, post(update_cancel::post_v1))
        .route(path::V2_UPDATE_CANCEL, post(update_cancel::post_v2))
        .route(path::V2_SIGN_QUOTE, post(sign_quote::post_v2))
        .route(path::V2_MONOTONIC_COUNTER, post(counter::post_v2))
        .route(path::V2_STATE_EXPORT, post(state::export_v2))
        .route(path::V1_RECOVER, post(recover::post_v1))
        .route(path::V2_RECOVER, post(recover::post_v2))
        .route(path::V2_RECOVER_PUBLIC_KEY, get(recover::public_key))
        .route(path::V2_OPENAPI, get(openapi))
        .fallback(not_allowed)
        .method_not_allowed_fallback(not_allowed)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&rest),
            cross_site::refused,
        ))
        .layer(axum::middleware::from_fn(requests::measured))
        .with_state(rest);
    Api {
        name: "client",
        router,
        on_panic: reply::after_panic,
        error_level,
        of_marbles: false,
    }
}

/// The OpenAPI document, which a test makes from the types of the handlers.
async fn openapi() -> Response {
    reply::success_body(Bytes::from_static(include_bytes!(
        "../../../../docs/openapi.json"
    )))
}

/// `GET` alone: axum would answer `HEAD` with the same handler.
fn get<H: Handler<T, Shared>, T: 'static>(handler: H) -> MethodRouter<Shared> {
    on(MethodFilter::GET, handler).on(MethodFilter::HEAD, not_allowed)
}

fn post<H: Handler<T, Shared>, T: 'static>(handler: H) -> MethodRouter<Shared> {
    on(MethodFilter::POST, handler)
}

/// A request that a feature gate lets in; what stands before it is looked at before anything else.
///
/// # Errors
/// 403; nothing of the body is kept.
async fn gated(rest: &Rest, request: Request<Body>, gate: FeatureGate) -> Result<Request<Body>, Response> {
    match rest.service.snapshot().check_feature(gate) {
        Ok(()) => Ok(request),
        Err(refusal) => {
            rest.bodies.discard(request.into_body()).await;
            Err(reply::refusal(Version::V2, RefusedAs::ServerError, &refusal))
        }
    }
}

/// Unknown paths too: clients take 405 as the sign to try the other version.
async fn not_allowed() -> Response {
    reply::not_allowed()
}
