//! Reading request bodies and queries, bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use http::Uri;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::places::{Place, Places};
use crate::listen::BodyError;

/// Bodies that are being read at a time; each may take [`SMALL`] bytes.
const BODIES: usize = 1_024;
/// Beyond this a body has to wait for one of few places.
const SMALL: usize = 24 << 10;
/// Pieces of a body whose length is not known beforehand.
const PIECE: usize = 1 << 20;
/// How long a small body may take when others wait.
const SMALL_GRACE: Duration = Duration::from_secs(1);
/// Larger bodies that are being read at a time.
const LARGE_BODIES: usize = 1;
/// How long a large body may take when others wait.
const LARGE_GRACE: Duration = Duration::from_secs(10);

/// Bytes of an unwanted body that are read all the same, and for how long.
const DISCARDED: u64 = 1 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(5);
/// How long what is left unread keeps its connection: closed at once, it would take the refusal with it.
const LINGER: Duration = Duration::from_secs(1);

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
    /// The place was needed for the bodies of others.
    Crowded,
    /// The connection broke.
    Broken,
}

/// Bytes that are wiped when dropped, as bodies may hold secrets; growing leaves no copies behind, and takes no more than
/// what is there: a body of unknown length comes in pieces that are put together at its end.
#[derive(Default)]
struct Wiped {
    full: Vec<Zeroizing<Vec<u8>>>,
    last: Zeroizing<Vec<u8>>,
    length: usize,
}

impl Wiped {
    fn append(&mut self, mut data: &[u8]) {
        self.length = self.length.saturating_add(data.len());
        while !data.is_empty() {
            let room = self.last.capacity() - self.last.len();
            if room == 0 {
                self.make_room(self.last.capacity().saturating_mul(2).clamp(SMALL, PIECE));
                continue;
            }
            let (now, later) = data.split_at(room.min(data.len()));
            self.last.extend_from_slice(now);
            data = later;
        }
    }

    /// The next bytes go to a piece of this size.
    fn make_room(&mut self, capacity: usize) {
        let larger = Zeroizing::new(Vec::with_capacity(capacity));
        let full = std::mem::replace(&mut self.last, larger);
        if !full.is_empty() {
            self.full.push(full);
        }
    }

    fn whole(mut self) -> Zeroizing<Vec<u8>> {
        if self.full.is_empty() {
            return self.last;
        }
        let mut whole = Zeroizing::new(Vec::with_capacity(self.length));
        self.full.push(self.last);
        for piece in self.full {
            whole.extend_from_slice(&piece);
        }
        whole
    }
}

/// Keeps the memory that peers can fill with request bodies small: many small ones at a time, few large ones, and who
/// is slow gives way to who comes.
pub(super) struct Bodies {
    all: Arc<Places>,
    large: Arc<Places>,
}

/// A body. While it is there, its place is taken.
pub(super) struct Received {
    bytes: Bytes,
    _places: (Place, Option<Place>),
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
            all: Places::new(BODIES, SMALL_GRACE),
            large: Places::new(LARGE_BODIES, LARGE_GRACE),
        }
    }

    /// Throws a body away that is not wanted, so that a client that is still sending gets to read the refusal instead
    /// of a broken connection. Not for ever: what is long or slow is left unread.
    pub async fn discard(&self, mut body: Body) {
        if hyper::body::Body::size_hint(&body).lower() <= DISCARDED {
            let _ = timeout(DISCARD_TIME, discard(&mut body)).await;
        }
        if !hyper::body::Body::is_end_stream(&body) {
            tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                drop(body);
            });
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
        let place = self.all.take().await;
        let mut place_of_large = None;
        let mut bytes = Wiped::default();
        while let Some(frame) = next_frame(&mut body, &place, place_of_large.as_ref()).await? {
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.length.saturating_add(data.len());
            if length > limit {
                drop(bytes);
                self.discard(body).await;
                return Err(too_large);
            }
            if length > SMALL && place_of_large.is_none() {
                place_of_large = Some(tokio::select! {
                    place_of_large = self.large.take() => place_of_large,
                    () = place.is_lost() => return Err(BodyRefusal::Crowded),
                });
                // From here on it can only lose the scarce place.
                if !place.keep() {
                    return Err(BodyRefusal::Crowded);
                }
                bytes.make_room(
                    usize::try_from(announced)
                        .unwrap_or(0)
                        .saturating_sub(bytes.length),
                );
            }
            bytes.append(&data);
        }
        if !place.keep() || place_of_large.as_ref().is_some_and(|place| !place.keep()) {
            return Err(BodyRefusal::Crowded);
        }
        Ok(Received {
            bytes: Bytes::from_owner(bytes.whole()),
            _places: (place, place_of_large),
        })
    }
}

/// The next piece of a body, unless its place is lost: of a large one, that among the large ones.
async fn next_frame(
    body: &mut Body,
    place: &Place,
    place_of_large: Option<&Place>,
) -> Result<Option<Frame<Bytes>>, BodyRefusal> {
    tokio::select! {
        biased;
        frame = body.frame() => frame.transpose().map_err(|error| refusal_of(&error)),
        () = place_of_large.unwrap_or(place).is_lost() => Err(BodyRefusal::Crowded),
    }
}

async fn discard(body: &mut Body) {
    let mut left = DISCARDED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(less) = left.checked_sub(length) else {
            return;
        };
        left = less;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_out_as_they_went_in_however_they_were_cut() {
        let content: Vec<u8> = (0..3 * PIECE + 17).map(|number| (number % 251) as u8).collect();
        for cut in [1 << 9, 1000, SMALL, PIECE, content.len()] {
            let mut bytes = Wiped::default();
            for piece in content.chunks(cut) {
                bytes.append(piece);
            }
            assert_eq!(bytes.length, content.len());
            let unused = bytes.last.capacity() - bytes.last.len();
            assert!(unused <= PIECE && bytes.full.iter().all(|piece| piece.len() <= PIECE));
            assert!(*bytes.whole() == content, "{cut}");
        }
        let mut announced = Wiped::default();
        announced.make_room(content.len());
        let place = announced.last.as_ptr();
        announced.append(&content);
        assert_eq!(announced.whole().as_ptr(), place, "one piece is not copied");
        assert!(Wiped::default().whole().is_empty());
    }
}
