//! Writes that go out together: HTTP/2 makes several small ones for each request, and each would be a record of TLS and a
//! system call of its own.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

/// Bytes that wait to be written at most; a record of TLS holds as many (RFC 8446, section 5.1).
const MOST: usize = 16 << 10;
/// Bytes that are set aside for the first of them.
const LEAST: usize = 4 << 10;

/// A stream that keeps what is written to it until the connection that writes has had its [`Turns`].
pub(super) struct Gathered<T>(Arc<Mutex<Waiting<T>>>);

/// A connection that writes to a [`Gathered`] stream: what it wrote is written on each time it has done all it can for
/// now, as far as the peer takes it, and then `after_writing` is called.
pub(super) struct Turns<C, T, A> {
    pub connection: C,
    stream: Gathered<T>,
    after_writing: A,
}

/// The stream and what waits for it. Locked by the task of the connection alone, and never while that waits.
struct Waiting<T> {
    inner: T,
    /// Replies hold secrets: wiped when it has gone out.
    bytes: Zeroizing<Vec<u8>>,
    /// How many of them the inner stream has taken.
    taken: usize,
    /// Why they could not be written; for whoever reads or writes next.
    failed: Option<io::Error>,
}

impl<T: AsyncWrite + Unpin> Gathered<T> {
    pub fn new(inner: T) -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            inner,
            bytes: Zeroizing::default(),
            taken: 0,
            failed: None,
        })))
    }

    /// The connection that is made of this stream.
    pub fn turns<C, A: Fn()>(self, connect: impl FnOnce(Self) -> C, after_writing: A) -> Turns<C, T, A> {
        Turns {
            stream: Self(Arc::clone(&self.0)),
            connection: connect(self),
            after_writing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncWrite + Unpin> Waiting<T> {
    /// As much of `bytes` as there is room for.
    fn keep(&mut self, bytes: &[u8]) -> usize {
        let kept = bytes
            .get(..MOST.saturating_sub(self.bytes.len()))
            .unwrap_or(bytes);
        let length = self.bytes.len() + kept.len();
        if length > self.bytes.capacity() {
            // A vector that grows by itself would leave its old bytes behind.
            let capacity = length.next_power_of_two().clamp(LEAST, MOST);
            let mut grown = Zeroizing::new(Vec::with_capacity(capacity));
            grown.extend_from_slice(&self.bytes);
            self.bytes = grown;
        }
        self.bytes.extend_from_slice(kept);
        kept.len()
    }

    /// Hands all that waits to the inner stream, without flushing that.
    fn poll_hand_over(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.taken += taken,
            }
        }
        // Given back: a connection that idles keeps no memory for it.
        self.bytes = Zeroizing::default();
        self.taken = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_make_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.bytes.len() < MOST {
            return Poll::Ready(Ok(()));
        }
        self.poll_hand_over(context)
    }

    /// Writes what waits, and tells whether anything did.
    fn end_turn(&mut self, context: &mut Context<'_>) -> bool {
        let waited = !self.bytes.is_empty();
        let flushed = match self.poll_hand_over(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.inner).poll_flush(context),
            other => other,
        };
        if let Poll::Ready(Err(error)) = flushed {
            self.failed = Some(error);
            context.waker().wake_by_ref();
        }
        waited
    }
}

impl<C: Future + Unpin, T: AsyncWrite + Unpin, A: Fn() + Unpin> Future for Turns<C, T, A> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        let turn = Pin::new(&mut self.connection).poll(context);
        // A connection that fails has said something before, too: what it speaks, or why.
        let wrote = self.stream.lock().end_turn(context);
        if wrote {
            (self.after_writing)();
        }
        turn
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut waiting = self.lock();
        if let Some(error) = waiting.failed.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut waiting.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut waiting = self.lock();
        ready!(waiting.poll_make_room(context))?;
        Poll::Ready(Ok(waiting.keep(bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut waiting = self.lock();
        ready!(waiting.poll_make_room(context))?;
        Poll::Ready(Ok(slices.iter().map(|slice| waiting.keep(slice)).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done at the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.lock();
        ready!(waiting.poll_hand_over(context))?;
        Pin::new(&mut waiting.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A stream that takes so many bytes with each write.
    struct Peer {
        takes: usize,
        writes: Vec<Vec<u8>>,
        flushes: usize,
        broken: bool,
        down: bool,
    }

    impl Peer {
        fn new(takes: usize) -> Self {
            Self {
                takes,
                writes: Vec::new(),
                flushes: 0,
                broken: false,
                down: false,
            }
        }
    }

    impl AsyncRead for Peer {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = self.takes.min(bytes.len());
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if taken == 0 {
                return Poll::Pending;
            }
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.down = true;
            Poll::Ready(Ok(()))
        }
    }

    /// Polls the connection once, with a waker that tells whether it was used.
    fn turn<C: Future + Unpin, A: Fn() + Unpin>(turns: &mut Turns<C, Peer, A>) -> (Poll<C::Output>, bool) {
        struct Woken(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken(false.into()));
        let waker = Arc::clone(&woken).into();
        let polled = Pin::new(turns).poll(&mut Context::from_waker(&waker));
        (polled, woken.0.load(std::sync::atomic::Ordering::Relaxed))
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_goes_out_in_one_piece() {
        let turns_with_writing = std::cell::Cell::new(0);
        let mut turns = Gathered::new(Peer::new(usize::MAX)).turns(
            |mut stream| {
                Box::pin(async move {
                    for piece in [b"settings ".as_slice(), b"acknowledgement"] {
                        stream.write_all(piece).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                    tokio::task::yield_now().await;
                    for piece in [b"header ".as_slice(), b"data ", b"trailer"] {
                        stream.write_all(piece).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                    tokio::task::yield_now().await;
                    let _ = stream.read_u8().await;
                })
            },
            || turns_with_writing.set(turns_with_writing.get() + 1),
        );
        assert!(turn(&mut turns).0.is_pending());
        {
            let waiting = turns.stream.lock();
            assert_eq!(waiting.inner.writes, [b"settings acknowledgement"]);
            assert_eq!((waiting.inner.flushes, waiting.bytes.capacity()), (1, 0));
        }
        assert!(turn(&mut turns).0.is_pending());
        assert_eq!(turns.stream.lock().inner.writes[1..], [b"header data trailer"]);
        assert_eq!(turns_with_writing.get(), 2);
        assert!(turn(&mut turns).0.is_pending());
        assert_eq!(turns_with_writing.get(), 2);
    }

    #[tokio::test]
    async fn no_more_is_kept_than_a_record_holds_and_nothing_is_lost() {
        let all: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let expected = all.clone();
        let mut turns = Gathered::new(Peer::new(1000)).turns(
            |mut stream| {
                Box::pin(async move {
                    let mut rest = all.as_slice();
                    while !rest.is_empty() {
                        let (first, second) = rest.split_at(rest.len().min(5000));
                        let slices = [
                            IoSlice::new(first),
                            IoSlice::new(&second[..second.len().min(70_000)]),
                        ];
                        let written = stream.write_vectored(&slices).await.unwrap();
                        let bytes = &stream.lock().bytes;
                        assert!(written > 0 && bytes.len() <= MOST && bytes.capacity() <= MOST);
                        rest = &rest[written..];
                    }
                    poll_fn(|_| Poll::<()>::Pending).await;
                })
            },
            || (),
        );
        assert!(turn(&mut turns).0.is_pending());
        assert_eq!(turns.stream.lock().inner.writes.concat(), expected);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_waited_for() {
        let mut turns = Gathered::new(Peer::new(0)).turns(
            |mut stream| {
                Box::pin(async move {
                    assert_eq!(stream.write(&[7; MOST + 1]).await.unwrap(), MOST);
                    stream.write_all(b"more").await.unwrap();
                    stream.shutdown().await.unwrap();
                })
            },
            || (),
        );
        for _ in 0..3 {
            assert!(turn(&mut turns).0.is_pending());
        }
        turns.stream.lock().inner.takes = 10_000;
        assert!(turn(&mut turns).0.is_ready());
        let waiting = turns.stream.lock();
        assert_eq!(waiting.inner.writes.concat(), [&[7; MOST][..], b"more"].concat());
        assert!(waiting.inner.down, "what waits goes out before the end");
    }

    #[tokio::test]
    async fn a_write_that_fails_behind_the_turn_is_told_in_the_next() {
        let mut peer = Peer::new(1);
        peer.broken = true;
        let mut turns = Gathered::new(peer).turns(
            |mut stream| {
                Box::pin(async move {
                    stream.write_all(b"reply").await.unwrap();
                    stream.read_u8().await.unwrap_err().kind()
                })
            },
            || (),
        );
        let (first, woken) = turn(&mut turns);
        assert!(first.is_pending() && woken);
        assert_eq!(turn(&mut turns).0, Poll::Ready(io::ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn what_is_written_before_a_failure_goes_out() {
        let mut turns = Gathered::new(Peer::new(usize::MAX)).turns(
            |mut stream| {
                Box::pin(async move {
                    stream.write_all(b"settings").await.unwrap();
                    Err::<(), ()>(())
                })
            },
            || (),
        );
        assert_eq!(turn(&mut turns).0, Poll::Ready(Err(())));
        assert_eq!(turns.stream.lock().inner.writes, [b"settings"]);
    }
}
