//! Requests of the client API, as they are counted and timed.

use std::time::Instant;

use axum::body::Body;
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, Request};
use hyper::body::Body as _;
use marblerun_wire::rest::path;

use super::metrics::{Answer, metrics};

/// Counts and times a request, if it is of a known route; others are counted where they are refused.
pub(crate) async fn measured(request: Request<Body>, next: Next) -> Response {
    let Some((path, method)) = operation(&request) else {
        return next.run(request).await;
    };
    let began = Instant::now();
    metrics().http_begins(path, request.body().size_hint().lower());
    let _in_flight = InFlight(path);
    let response = next.run(request).await;
    let answer = Answer {
        code: code(response.status().as_u16()),
        took: began.elapsed(),
        size: response.body().size_hint().lower(),
    };
    metrics().http_answered(path, method, &answer);
    response
}

/// The labels of a request of a known route; methods that no route has are not told apart.
fn operation(request: &Request<Body>) -> Option<(&'static str, &'static str)> {
    let asked = request.uri().path();
    let path = path::ALL.iter().find(|path| **path == asked)?;
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        _ => return None,
    };
    Some((path, method))
}

/// Codes that are answered with.
fn code(code: u16) -> &'static str {
    match code {
        200 => "200",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        410 => "410",
        413 => "413",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}

/// Counts down also where the peer goes away before it is answered.
struct InFlight(&'static str);

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics().http_ends(self.0);
    }
}
