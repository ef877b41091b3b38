//! Reading request bodies and queries, bounded.

use axum::body::Body;
use axum::extract::Query;
use bytes::{Bytes, BytesMut};
use http::Uri;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;

use crate::listen::BodyError;

/// Bodies that are being read at a time; each may take [`SMALL`] bytes.
const BODIES: usize = 64;
/// Beyond this a body has to wait for its turn.
const SMALL: usize = 256 << 10;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyRefusal {
    /// It is larger than allowed.
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The peer took too long.
    TooSlow,
    /// The connection broke.
    Broken,
}

/// Keeps the memory that strangers can fill with request bodies small: few small ones at a time, one large one.
pub(super) struct Bodies {
    all: Semaphore,
    large: Semaphore,
}

impl Bodies {
    pub fn new() -> Self {
        Self { all: Semaphore::new(BODIES), large: Semaphore::new(1) }
    }

    /// Reads a body of at most `limit` bytes.
    pub async fn read(&self, mut body: Body, limit: usize) -> Result<Bytes, BodyRefusal> {
        let too_large = BodyRefusal::TooLarge { limit };
        let announced = hyper::body::Body::size_hint(&body).lower();
        if announced > limit as u64 {
            return Err(too_large);
        }
        let _turn = self.all.acquire().await.map_err(|_| BodyRefusal::Broken)?;
        let mut turn_of_large = None;
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| refusal_of(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len().saturating_add(data.len());
            if length > limit {
                return Err(too_large);
            }
            if length > SMALL && turn_of_large.is_none() {
                turn_of_large = Some(self.large.acquire().await.map_err(|_| BodyRefusal::Broken)?);
                bytes.reserve(usize::try_from(announced).unwrap_or(0).saturating_sub(bytes.len()));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }
}

/// axum wraps the errors of a body: the reason is somewhere below.
fn refusal_of(error: &axum::Error) -> BodyRefusal {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(BodyError::TooSlow) = error.downcast_ref() {
            return BodyRefusal::TooSlow;
        }
        source = error.source();
    }
    BodyRefusal::Broken
}

/// The parameters of a query, in order, with percent escapes undone.
pub(super) fn query(uri: &Uri) -> Result<Vec<(String, String)>, String> {
    match Query::try_from_uri(uri) {
        Ok(Query(parameters)) => Ok(parameters),
        Err(error) => Err(error.to_string()),
    }
}
