//! The frames an HTTP/2 peer sends (RFC 9113, section 4.1), as far as the library leaves their cost to us: headers that
//! do not end, and frames that ask for nothing but work.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;

/// Bytes a client sends before its first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Frames that carry neither headers nor data a peer may send at once.
const BURST: u32 = 1_000;
/// One more of them every so often.
const EACH: Duration = Duration::from_millis(5);
/// One more of them for each of these bytes that we send: peers acknowledge what they receive.
const SENT_BYTES_EACH: usize = 4 << 10;

/// A connection whose incoming frames are looked at.
pub(super) struct Frames<T> {
    inner: T,
    activity: Arc<Activity>,
    reader: Reader,
    allowance: Allowance,
}

impl<T> Frames<T> {
    pub fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            activity,
            reader: Reader::default(),
            allowance: Allowance::new(Instant::now()),
        }
    }

    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        let idle_frames = self.reader.read(bytes);
        if self.reader.in_header {
            self.activity.header_is_open();
        } else {
            self.activity.header_is_complete();
        }
        if idle_frames > 0 && !self.allowance.spend(idle_frames, Instant::now()) {
            return Err(io::Error::other("too many HTTP/2 control frames"));
        }
        Ok(())
    }
}

/// Where in the stream of frames the peer is.
#[derive(Default)]
struct Reader {
    preface: usize,
    header: [u8; 9],
    filled: usize,
    payload: usize,
    /// A header block has begun and its last frame has not ended.
    in_header: bool,
    ends_header: bool,
}

impl Reader {
    /// Takes what was received; tells how many frames it began that carry neither headers nor data.
    fn read(&mut self, mut bytes: &[u8]) -> u32 {
        let mut idle_frames = 0;
        bytes = skip(bytes, &mut self.preface, PREFACE);
        while !bytes.is_empty() {
            if self.payload > 0 {
                let taken = self.payload.min(bytes.len());
                self.payload -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
                self.frame_may_have_ended();
                continue;
            }
            for (place, byte) in self.header.iter_mut().skip(self.filled).zip(bytes) {
                *place = *byte;
            }
            let before = self.filled;
            self.filled = (before + bytes.len()).min(self.header.len());
            bytes = bytes.get(self.filled - before..).unwrap_or_default();
            if self.filled == self.header.len() {
                self.filled = 0;
                idle_frames += u32::from(self.begin_frame());
                self.frame_may_have_ended();
            }
        }
        idle_frames
    }

    /// Whether the frame carries neither headers nor data.
    fn begin_frame(&mut self) -> bool {
        let [a, b, c, kind, flags, ..] = self.header;
        self.payload = u32::from_be_bytes([0, a, b, c]) as usize;
        match kind {
            HEADERS | CONTINUATION => {
                self.in_header = true;
                self.ends_header = flags & END_HEADERS != 0;
                false
            }
            DATA => self.payload == 0,
            _ => true,
        }
    }

    fn frame_may_have_ended(&mut self) {
        if self.payload == 0 && self.ends_header {
            self.in_header = false;
            self.ends_header = false;
        }
    }
}

/// `bytes` without those that are missing from `done` to `whole`.
fn skip<'a>(bytes: &'a [u8], done: &mut usize, whole: usize) -> &'a [u8] {
    let taken = (whole - *done).min(bytes.len());
    *done += taken;
    bytes.get(taken..).unwrap_or_default()
}

/// How many frames without headers and data a peer may still send.
struct Allowance {
    left: u32,
    refilled: Instant,
    sent: usize,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            refilled: now,
            sent: 0,
        }
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        let more = u32::try_from(self.sent / SENT_BYTES_EACH).unwrap_or(u32::MAX);
        self.sent %= SENT_BYTES_EACH;
        self.left = self.left.saturating_add(more).min(2 * BURST);
    }

    fn spend(&mut self, frames: u32, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_millis() / EACH.as_millis();
        let more = u32::try_from(passed).unwrap_or(u32::MAX);
        if more > 0 {
            self.refilled = now;
            self.left = self.left.max(self.left.saturating_add(more).min(BURST));
        }
        let left = self.left.checked_sub(frames);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Frames<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = result {
            let received = buffer.filled().get(before..).unwrap_or_default();
            if let Err(flood) = this.received(received) {
                return Poll::Ready(Err(flood));
            }
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = result {
            self.allowance.sent(written);
        }
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(written)) = result {
            self.allowance.sent(written);
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(9 + payload, 0xAA);
        frame
    }

    #[test]
    fn headers_are_open_until_their_last_frame_ends_however_they_are_cut() {
        let mut stream = vec![b'P'; PREFACE];
        stream.extend(frame(4, 0, 6));
        let settings = stream.len();
        stream.extend(frame(HEADERS, 0, 5));
        stream.extend(frame(CONTINUATION, END_HEADERS, 7));
        let headers = stream.len();
        stream.extend(frame(DATA, 1, 300));
        for step in 1..stream.len() {
            let mut reader = Reader::default();
            let (mut at, mut idle) = (0, 0);
            for piece in stream.chunks(step) {
                idle += reader.read(piece);
                at += piece.len();
                // The kind of a frame is known with the ninth byte.
                assert_eq!(
                    reader.in_header,
                    at >= settings + 9 && at < headers,
                    "{step} {at}"
                );
            }
            assert_eq!(idle, 1, "{step}");
        }
    }

    #[test]
    fn headers_without_payload_end_at_once() {
        let mut reader = Reader::default();
        reader.read(&[0; PREFACE]);
        reader.read(&frame(HEADERS, END_HEADERS, 0));
        assert!(!reader.in_header);
        assert_eq!(reader.read(&frame(DATA, 0, 0)), 1);
    }

    #[test]
    fn idle_frames_have_a_rate() {
        let begin = Instant::now();
        let mut allowance = Allowance::new(begin);
        assert!(allowance.spend(BURST, begin));
        assert!(!allowance.spend(1, begin));
        // A second brings 200.
        let later = begin + Duration::from_secs(1);
        assert!(allowance.spend(200, later));
        assert!(!allowance.spend(1, later));
        // What we send brings more.
        allowance.sent(40 << 10);
        assert!(allowance.spend(10, later));
        assert!(!allowance.spend(1, later));
        // And a pause no more than a burst.
        let much_later = later + Duration::from_secs(3600);
        assert!(allowance.spend(BURST, much_later));
        assert!(!allowance.spend(1, much_later));
    }
}
