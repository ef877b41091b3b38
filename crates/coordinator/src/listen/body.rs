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
    received: u64,
    /// How long the peer kept us waiting so far; what we spend ourselves does not count.
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl TimedBody {
    /// A body that may pause for as long as `pause`.
    pub fn new(inner: Incoming, pause: Duration) -> Self {
        Self {
            inner,
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
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            if let Some((since, _)) = this.waiting.take() {
                this.waited += since.elapsed();
            }
            if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                this.received += data.map_or(0, |data| data.len() as u64);
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
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
