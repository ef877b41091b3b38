//! What a connection does, as far as it decides how long it may stay.
//!
//! Only requests and the progress of replies keep a connection: bytes alone do not, as a peer gets an answer to every
//! PING of HTTP/2.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body as ReplyBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

/// Replies go out in pieces of this size, so that each piece the peer has taken shows.
const PIECE: usize = 32 << 10;
/// A connection that did something within this time is not closed for a newcomer's sake.
const SPARED: Duration = Duration::from_secs(1);

/// What happened on a connection so far.
pub(super) struct Activity {
    opened: Instant,
    /// Milliseconds from `opened` to the last piece of a reply that was taken or the last request finished.
    last: AtomicU64,
    requests: AtomicU64,
    running: AtomicU64,
    /// Milliseconds from `opened` to the begin of a header that has not ended, plus one; 0: there is none.
    header: AtomicU64,
    header_opened: Notify,
    /// HTTP is spoken: it has begun, at least.
    speaking: AtomicBool,
    /// A reply was made: others go first when it has been written.
    gives_way: AtomicBool,
    evicted: Notify,
}

impl Activity {
    pub fn new() -> Self {
        Self {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            running: AtomicU64::new(0),
            header: AtomicU64::new(0),
            header_opened: Notify::new(),
            speaking: AtomicBool::new(false),
            gives_way: AtomicBool::new(false),
            evicted: Notify::new(),
        }
    }

    /// When the connection was accepted.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// HTTP is spoken from now on.
    pub fn speaks(&self) {
        self.touch();
        self.speaking.store(true, Ordering::Relaxed);
    }

    /// Others go first when the reply that was made has been written.
    pub fn give_way_after_writing(&self) {
        self.gives_way.store(true, Ordering::Relaxed);
    }

    /// Something was written: lets others go first, if it is their turn.
    pub fn has_written(&self) {
        if self.gives_way.swap(false, Ordering::Relaxed) {
            std::thread::yield_now();
        }
    }

    /// Requests begun on this connection.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Since when no handler runs and the peer takes nothing of a reply; now, while a handler runs.
    pub fn quiet_since(&self) -> Instant {
        if self.running.load(Ordering::Relaxed) > 0 {
            return Instant::now();
        }
        self.opened + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Since when the peer is sending the header of a request; HTTP/2 only.
    pub fn header_since(&self) -> Option<Instant> {
        let since = self.header.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened + Duration::from_millis(since))
    }

    /// A header has begun, or goes on, at the end of what was received.
    pub fn header_is_open(&self) {
        let now = self.elapsed().saturating_add(1);
        if self
            .header
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            self.header_opened.notify_one();
        }
    }

    /// No header is being received.
    pub fn header_is_complete(&self) {
        self.header.store(0, Ordering::Relaxed);
    }

    /// Returns when a header begins that does not end at once.
    pub async fn header_begins(&self) {
        self.header_opened.notified().await;
    }

    /// Returns when the connection has to make room.
    pub async fn is_evicted(&self) {
        self.evicted.notified().await;
    }

    /// A request begins; it ends when the returned value is dropped.
    pub fn request_started(self: &Arc<Self>) -> Running {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    fn touch(&self) {
        self.last.store(self.elapsed(), Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A running request.
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.touch();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A reply that notes each piece the peer takes.
pub struct WatchedReply {
    inner: ReplyBody,
    rest: Bytes,
    activity: Arc<Activity>,
}

impl WatchedReply {
    pub(super) fn new(inner: ReplyBody, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            activity,
        }
    }
}

impl Body for WatchedReply {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        this.activity.touch();
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// The connections of a listener.
#[derive(Default)]
pub(super) struct Connections(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Arc<Activity>>,
}

impl Connections {
    /// Counts a connection in until the returned value is dropped.
    pub fn enter(self: &Arc<Self>, activity: &Arc<Activity>) -> Entered {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.next;
        open.next = number.wrapping_add(1);
        open.connections.insert(number, Arc::clone(activity));
        Entered {
            connections: Arc::clone(self),
            number,
        }
    }

    /// Closes the connection that has done nothing for the longest time, unless all are busy: whoever only holds
    /// connections cannot keep others out.
    pub fn make_room(&self) {
        self.close_quietest(|_| true);
    }

    /// The same among those that HTTP is spoken on.
    pub fn make_room_among_speaking(&self) {
        self.close_quietest(|activity| activity.speaking.load(Ordering::Relaxed));
    }

    fn close_quietest(&self, eligible: impl Fn(&Activity) -> bool) {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quietest = open
            .connections
            .values()
            .filter(|activity| eligible(activity))
            .map(|activity| (activity.quiet_since(), activity))
            .min_by_key(|(since, _)| *since);
        if let Some((since, activity)) = quietest
            && since.elapsed() >= SPARED
        {
            activity.evicted.notify_one();
        }
    }
}

/// A connection that is counted in.
pub(super) struct Entered {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.number);
    }
}
