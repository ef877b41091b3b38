//! Reading request bodies and queries, bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use http::Uri;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::listen::BodyError;

/// Bodies that are being read at a time; each may take [`SMALL`] bytes.
const BODIES: usize = 64;
/// Beyond this a body has to wait for its turn.
const SMALL: usize = 256 << 10;

/// Bytes of an unwanted body that are read all the same, and for how long.
const DISCARDED: u64 = 1 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(5);

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

/// Bytes that are wiped when dropped, as bodies may hold secrets; growing leaves no copies behind.
#[derive(Default)]
struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    fn append(&mut self, data: &[u8]) {
        let length = self.0.len().saturating_add(data.len());
        if length > self.0.capacity() {
            self.make_room(length.max(self.0.capacity().saturating_mul(2)));
        }
        self.0.extend_from_slice(data);
    }

    fn make_room(&mut self, capacity: usize) {
        if capacity > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
    }
}

/// Keeps the memory that strangers can fill with request bodies small: few small ones at a time, one large one.
pub(super) struct Bodies {
    all: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A body. While it is there, its place is taken.
pub(super) struct Received {
    bytes: Bytes,
    _turns: [Option<OwnedSemaphorePermit>; 2],
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Received {
    /// What was made of the body, in its place.
    pub fn replaced_by(self, bytes: Bytes) -> Self {
        Self { bytes, ..self }
    }
}

impl Bodies {
    pub fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(BODIES)),
            large: Arc::new(Semaphore::new(1)),
        }
    }

    /// Throws a body away that is not wanted, so that a client that is still sending gets to read the refusal instead
    /// of a broken connection. Not for ever: what is long or slow is left unread.
    pub async fn discard(&self, body: Body) {
        if hyper::body::Body::size_hint(&body).lower() <= DISCARDED {
            let _ = timeout(DISCARD_TIME, discard(body)).await;
        }
    }

    /// Reads a body of at most `limit` bytes.
    pub async fn read(&self, mut body: Body, limit: usize) -> Result<Received, BodyRefusal> {
        let too_large = BodyRefusal::TooLarge { limit };
        let announced = hyper::body::Body::size_hint(&body).lower();
        if announced > limit as u64 {
            self.discard(body).await;
            return Err(too_large);
        }
        let turn = wait(&self.all).await?;
        let mut turn_of_large = None;
        let mut bytes = Wiped::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| refusal_of(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.0.len().saturating_add(data.len());
            if length > limit {
                drop(bytes);
                self.discard(body).await;
                return Err(too_large);
            }
            if length > SMALL && turn_of_large.is_none() {
                turn_of_large = Some(wait(&self.large).await?);
                bytes.make_room(usize::try_from(announced).unwrap_or(0));
            }
            bytes.append(&data);
        }
        Ok(Received {
            bytes: Bytes::from_owner(bytes.0),
            _turns: [Some(turn), turn_of_large],
        })
    }
}

async fn discard(mut body: Body) {
    let mut left = DISCARDED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(less) = left.checked_sub(length) else {
            return;
        };
        left = less;
    }
}

async fn wait(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, BodyRefusal> {
    Arc::clone(turns)
        .acquire_owned()
        .await
        .map_err(|_| BodyRefusal::Broken)
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
