//! Request bodies that must keep coming.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

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
    /// The connection or stream broke.
    #[error("the request body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// A request body with a limit on each pause and on its speed. Its size is limited by whoever reads it.
pub struct TimedBody {
    inner: Incoming,
    pause: Duration,
    started: Option<Instant>,
    received: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    /// A body that may pause for as long as `pause`.
    pub fn new(inner: Incoming, pause: Duration) -> Self {
        Self { inner, pause, started: None, received: 0, timer: None }
    }

    fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        let whole = BASE_TIME + Duration::from_secs(self.received / BYTES_PER_SECOND);
        (now + self.pause).min(started + whole)
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
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.timer = None;
            if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                this.received += data.map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        if this.timer.is_none() {
            let deadline = this.deadline();
            this.timer = Some(Box::pin(sleep_until(deadline)));
        }
        match this.timer.as_mut().map(|timer| timer.as_mut().poll(context)) {
            Some(Poll::Ready(())) => Poll::Ready(Some(Err(BodyError::TooSlow))),
            _ => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
