//! Request bodies that must keep coming.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// How long a body may take whatever its size.
const BASE_TIME: Duration = Duration::from_secs(30);
/// What a body must bring in each second beyond that.
const BYTES_PER_SECOND: u64 = 64 << 10;

/// Why a request body did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer paused too long or was too slow altogether.
    #[error("the request body took too long")]
    TooSlow,
    /// The bodies being received take all the memory that is set aside for them.
    #[error("too many request bodies at a time")]
    TooMany,
    /// The connection or stream broke.
    #[error("the request body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// Memory set aside for the bodies of all requests of a listener. What a request has received stays reserved until
/// it is answered, for somebody keeps it until then.
pub(super) struct Reservation {
    whole: Arc<Semaphore>,
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Reservation {
    pub fn new(whole: Arc<Semaphore>) -> Self {
        Self {
            whole,
            taken: Mutex::new(None),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.whole).try_acquire_many_owned(bytes) else {
            return false;
        };
        match &mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
        true
    }
}

/// A request body with a limit on each pause, on its speed and on what all bodies take together. Its own size is
/// limited by whoever reads it.
pub struct TimedBody {
    /// There until it is dropped.
    inner: Option<Incoming>,
    unread: Arc<Unread>,
    reservation: Arc<Reservation>,
    pause: Duration,
    received: u64,
    /// How long the peer kept us waiting so far; what we spend ourselves does not count.
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl TimedBody {
    /// A body that may pause for as long as `pause`.
    pub(super) fn new(
        inner: Incoming,
        pause: Duration,
        reservation: Arc<Reservation>,
        unread: Arc<Unread>,
    ) -> Self {
        Self {
            inner: Some(inner),
            unread,
            reservation,
            pause,
            received: 0,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    /// How long the next piece may take.
    fn patience(&self) -> Duration {
        let whole = BASE_TIME + Duration::from_secs(self.received / BYTES_PER_SECOND);
        self.pause.min(whole.saturating_sub(self.waited))
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(context) {
            if let Some((since, _)) = this.waiting.take() {
                this.waited += since.elapsed();
            }
            if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                let length = data.map_or(0, Bytes::len);
                this.received += length as u64;
                if !this.reservation.take(length) {
                    return Poll::Ready(Some(Err(BodyError::TooMany)));
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        let patience = this.patience();
        let (_, timer) = this.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + patience)))
        });
        timer
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(BodyError::TooSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        // Whoever paused too long is not waited for again.
        if let Some(inner) = self
            .inner
            .take()
            .filter(|inner| !inner.is_end_stream() && self.waiting.is_none())
        {
            *self.unread.body.lock().unwrap_or_else(PoisonError::into_inner) = Some((inner, self.received));
        }
    }
}

/// What a handler left of a request body. Over HTTP/2 a server may answer and then stop the peer that is still sending
/// (RFC 9113 section 8.1), but clients in use take that for a failure and never show the answer. So the rest is read first,
/// and thrown away.
#[derive(Default)]
pub(super) struct Unread {
    body: Mutex<Option<(Incoming, u64)>>,
}

impl Unread {
    /// Most bytes that are read to be thrown away: a little more than the largest body there may be.
    const MOST: u64 = 64 << 20;
    /// Longest time for that, and for each piece.
    const LONGEST: Duration = Duration::from_secs(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);

    /// Reads what is left, within bounds; beyond them the peer sees the stream end.
    pub(super) async fn drain(&self) {
        let left = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut body, mut received)) = left else {
            return;
        };
        if body.size_hint().exact().is_some_and(|size| size > Self::MOST) {
            return;
        }
        let all = async {
            while let Ok(Some(Ok(frame))) = timeout(Self::LONGEST_PAUSE, body.frame()).await {
                received += frame.data_ref().map_or(0, Bytes::len) as u64;
                if received > Self::MOST {
                    return;
                }
            }
        };
        // Not ended in time: it ends with the answer.
        let _ = timeout(Self::LONGEST, all).await;
    }
}
