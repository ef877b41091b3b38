//! Who calls: the certificate presented on the connection, looked up for each request in the manifest then in force.

use axum::body::Body;
use axum::response::Response;
use http::Request;
use marblerun_core::access::{self, Caller, Unrecognised};
use marblerun_core::state::State;

use super::Rest;
use super::reply::{self, RefusedAs, Version};
use crate::listen::PeerCertificate;
use crate::service::Leaf;

/// A request whose caller is known.
pub(super) struct Known<C> {
    /// Who calls.
    pub caller: C,
    /// By what he was recognised.
    pub leaf: Leaf,
    /// What he sends.
    pub body: Body,
}

/// A request of a user, or of a marble that counts as one.
///
/// # Errors
/// 401; nothing of the body is kept.
pub(super) async fn user(
    rest: &Rest,
    request: Request<Body>,
    version: Version,
) -> Result<Known<Caller>, Response> {
    known(rest, request, version, access::recognise).await
}

/// A request of a marble, whatever its roles.
///
/// # Errors
/// 401; nothing of the body is kept.
pub(super) async fn marble(
    rest: &Rest,
    request: Request<Body>,
    version: Version,
) -> Result<Known<()>, Response> {
    let recognise =
        |state: &State, leaf: Option<&[u8]>| access::recognise_marble(state, leaf).map(|_marble| ());
    known(rest, request, version, recognise).await
}

/// The certificate presented on the connection of a request.
pub(super) fn leaf<B>(request: &Request<B>) -> Leaf {
    let certificate = request.extensions().get::<PeerCertificate>();
    certificate.map(|certificate| certificate.0.clone())
}

async fn known<C>(
    rest: &Rest,
    request: Request<Body>,
    version: Version,
    recognise: impl FnOnce(&State, Option<&[u8]>) -> Result<C, Unrecognised>,
) -> Result<Known<C>, Response> {
    let leaf = leaf(&request);
    let recognised = recognise(&rest.service.snapshot(), leaf.as_deref());
    let body = request.into_body();
    match recognised {
        Ok(caller) => Ok(Known { caller, leaf, body }),
        Err(unrecognised) => {
            rest.bodies.discard(body).await;
            let refusal = unrecognised.into();
            Err(reply::refusal(version, RefusedAs::ServerError, &refusal))
        }
    }
}
