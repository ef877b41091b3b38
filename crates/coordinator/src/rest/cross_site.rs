//! Requests that a foreign web page makes a browser send.
//!
//! A browser shows its user's certificate whoever wrote the page, and sends a body of plain text anywhere without
//! asking. It says where such a request comes from, in headers that pages cannot set: `Sec-Fetch-Site` (W3C Fetch
//! Metadata) or, if it is older, `Origin` (RFC 6454, section 7). Clients that are not browsers send neither.

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, Request, StatusCode, header};
use marblerun_core::refusal::RefusalKind;

use super::{Shared, reply};
use crate::observe::counts;

/// Refuses what may change something and comes from elsewhere, before a handler sees it: 403, nothing of the body is
/// kept. What only reads is let through: a foreign page cannot read the answer.
pub(super) async fn refused(State(rest): State<Shared>, request: Request<Body>, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) || !is_cross_site(&request) {
        return next.run(request).await;
    }
    counts::refused(RefusalKind::Denied);
    rest.bodies_of_strangers.discard(request.into_body()).await;
    reply::error(
        StatusCode::FORBIDDEN,
        "a web page of another site sent this request (Sec-Fetch-Site, Origin); use the marblerun command or a client of your own",
    )
}

/// Whether a browser says that a page of another origin wrote the request.
fn is_cross_site<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get("sec-fetch-site") {
        // `none`: the user typed the address himself.
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let asked = match request.uri().authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => headers.get(header::HOST).map(http::HeaderValue::as_bytes),
    };
    match (origin.as_bytes().strip_prefix(b"https://"), asked) {
        (Some(of), Some(asked)) => !of.eq_ignore_ascii_case(asked),
        // `null` too, which is the origin of sandboxed pages and files.
        _ => true,
    }
}
