//! `POST sign-quote`: the TCB status of an SGX quote, signed by the root key.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use marblerun_core::manifest::FeatureGate;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_wire::rest::{Base64Bytes, MAXIMUM_OTHER_BODY, read_body, v2};

use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared};

pub(super) async fn post_v2(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match sign(&rest, request).await {
        Ok(signed) => reply::success(signed),
        Err(response) => response,
    }
}

async fn sign(rest: &Rest, request: Request<Body>) -> Result<v2::QuoteSigned, Response> {
    let request = super::gated(rest, request, FeatureGate::SignQuoteEndpoint).await?;
    let body = rest
        .bodies_of_strangers
        .read(request.into_body(), MAXIMUM_OTHER_BODY)
        .await;
    let body = body.map_err(|refusal| reply::unread(Version::V2, refusal))?;
    let posted: v2::SignQuote =
        read_body(body.as_ref()).map_err(|error| reply::bad_request(Version::V2, error.to_string()))?;
    let signed = rest.service.sign_quote(posted.sgx_quote.0).await;
    let signed = signed.map_err(|refusal| refuse(&refusal))?;
    Ok(v2::QuoteSigned {
        tcb_status: signed.tcb_status.as_str().to_owned(),
        verification_signature: Base64Bytes(signed.signature),
    })
}

fn refuse(refusal: &Refusal) -> Response {
    if refusal.kind() != RefusalKind::Malformed {
        return reply::refusal(Version::V2, RefusedAs::ServerError, refusal);
    }
    let data = v2::QuoteRefused {
        sgx_quote: refusal.message().to_owned(),
    };
    reply::bad_request_with(data, "the quote could not be verified")
}
