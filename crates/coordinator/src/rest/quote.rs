//! `GET quote[?nonce=…]`: the Coordinator's certificates, and evidence for them.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use marblerun_core::flow::inspect;
use marblerun_wire::rest::{Base64Bytes, decode_nonce, v1, v2};

use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared, body};

pub(super) async fn v1(State(rest): State<Shared>, uri: Uri) -> Response {
    match quote(&rest, &uri, Version::V1).await {
        Ok((cert, quote)) => reply::success(v1::Quote { cert, quote }),
        Err(response) => response,
    }
}

pub(super) async fn v2(State(rest): State<Shared>, uri: Uri) -> Response {
    match quote(&rest, &uri, Version::V2).await {
        Ok((cert, quote)) => reply::success(v2::Quote { cert, quote }),
        Err(response) => response,
    }
}

/// The certificates and the evidence over the root certificate of one snapshot.
async fn quote(rest: &Rest, uri: &Uri, version: Version) -> Result<(String, Option<Base64Bytes>), Response> {
    let nonce = nonce(uri).map_err(|reason| reply::bad_request(version, reason))?;
    let state = rest.service.snapshot();
    let quote = rest
        .service
        .own_evidence()
        .quote(&state.authority().root, &nonce)
        .await
        .map_err(|refusal| reply::refusal(version, RefusedAs::ServerError, &refusal))?;
    let quote = quote.map(|quote| Base64Bytes(quote.to_vec()));
    Ok((inspect::certificate_chain(&state), quote))
}

/// The nonce that evidence shall cover: base64url, with or without padding; empty when there is none.
fn nonce(uri: &Uri) -> Result<Vec<u8>, String> {
    let parameters = body::query(uri).map_err(|error| format!("invalid query: {error}"))?;
    match parameters.iter().find(|(name, _)| name == "nonce") {
        None => Ok(Vec::new()),
        Some((_, text)) => {
            decode_nonce(text).map_err(|error| format!("invalid query: bad nonce format: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_may_be_padded() {
        let nonce = |query: &str| nonce(&format!("/quote{query}").parse().unwrap());
        assert_eq!(nonce(""), Ok(vec![]));
        assert_eq!(nonce("?nonce="), Ok(vec![]));
        assert_eq!(nonce("?nonce=bm9uY2U="), Ok(b"nonce".to_vec()));
        assert_eq!(nonce("?x=1&nonce=bm9uY2U"), Ok(b"nonce".to_vec()));
        assert_eq!(nonce("?nonce=bm9uY2U%3D"), Ok(b"nonce".to_vec()));
        assert_eq!(nonce("?nonce=-_8"), Ok(vec![0xfb, 0xff]));
        for bad in ["?nonce=!!", "?nonce=a", "?nonce=+_8"] {
            assert!(
                nonce(bad)
                    .unwrap_err()
                    .starts_with("invalid query: bad nonce format"),
                "{bad}"
            );
        }
    }
}
