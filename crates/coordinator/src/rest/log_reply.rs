//! The reply to `GET update`. The log only grows, strangers may ask for it as often as they like and read it as slowly
//! as they like: it is written once, entry by entry as they come, and all replies share what is written.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use marblerun_core::flow::inspect;
use marblerun_core::refusal::Refusal;
use marblerun_core::state::State;
use marblerun_wire::rest::{Reply, to_body, v2};
use tokio::sync::Mutex;

use super::reply::{self, RefusedAs, Version};
use crate::service::Service;

/// New entries are written into the last piece until it has this size.
const PIECE: usize = 256 << 10;

/// What is written of the log, for each version.
#[derive(Default)]
pub(super) struct LogReplies {
    v1: Log,
    v2: Log,
}

#[derive(Default)]
struct Log {
    written: ArcSwap<Written>,
    /// One writes, the others wait for what he writes.
    writing: Mutex<()>,
}

/// The entries of the log as they stand in the reply.
#[derive(Clone, Default)]
struct Written {
    entries: usize,
    /// Hash of the last of them.
    last: [u8; 32],
    pieces: Vec<Bytes>,
}

impl LogReplies {
    /// The reply.
    pub async fn answer(&self, service: &Service, version: Version) -> Response {
        let log = match version {
            Version::V1 => &self.v1,
            Version::V2 => &self.v2,
        };
        match log
            .current(service, version)
            .await
            .and_then(|written| written.body(version))
        {
            Ok(body) => reply::success_chunks(body),
            Err(refusal) => reply::refusal(version, RefusedAs::ServerError, &refusal),
        }
    }
}

impl Log {
    async fn current(&self, service: &Service, version: Version) -> Result<Arc<Written>, Refusal> {
        let is_current = |written: &Written| -> Result<bool, Refusal> {
            let (entries, last) = inspect::update_log_end(&service.snapshot())?;
            Ok(written.entries == entries && written.last == last)
        };
        let written = self.written.load_full();
        if is_current(&written)? {
            return Ok(written);
        }
        let _turn = self.writing.lock().await;
        let written = self.written.load_full();
        if is_current(&written)? {
            return Ok(written);
        }
        let state = service.snapshot();
        let next = tokio::task::spawn_blocking(move || written.continued(&state, version))
            .await
            .map_err(Refusal::internal)??;
        let next = Arc::new(next);
        self.written.store(Arc::clone(&next));
        Ok(next)
    }
}

impl Written {
    /// With the entries that came since; from the beginning if this is another log.
    fn continued(&self, state: &State, version: Version) -> Result<Self, Refusal> {
        let (entries, last) = inspect::update_log_end(state)?;
        let (mut next, lines) = match inspect::update_log_behind(state, self.entries, &self.last)? {
            Some(lines) => (self.clone(), lines),
            None => {
                let all = inspect::update_log_behind(state, 0, &[0; 32])?;
                (Self::default(), all.unwrap_or_default())
            }
        };
        let mut open = match next.pieces.pop() {
            Some(piece) if piece.len() < PIECE => piece.to_vec(),
            Some(full) => {
                next.pieces.push(full);
                Vec::new()
            }
            None => Vec::new(),
        };
        for (number, line) in (next.entries..).zip(lines) {
            write_entry(&mut open, &line, number, version).map_err(Refusal::internal)?;
            if open.len() >= PIECE {
                next.pieces.push(std::mem::take(&mut open).into());
            }
        }
        if !open.is_empty() {
            next.pieces.push(open.into());
        }
        (next.entries, next.last) = (entries, last);
        Ok(next)
    }

    /// The whole reply: what stands around the entries of a log, with these between.
    fn body(&self, version: Version) -> Result<Chunks, Refusal> {
        let (empty, gap) = match version {
            Version::V1 => (to_body(&Reply::success("")), "\"\""),
            Version::V2 => (to_body(&Reply::success(v2::UpdateLog::default())), "[]"),
        };
        let empty = String::from_utf8(empty.map_err(Refusal::internal)?).map_err(Refusal::internal)?;
        let place = empty.rfind("\"data\"").and_then(|data| {
            let gap = empty.get(data..)?.find(gap)?;
            Some(data + gap + 1)
        });
        let place = place.ok_or_else(|| Refusal::internal("the reply has no place for the log"))?;
        let (before, after) = empty.split_at(place);
        let mut pieces = VecDeque::with_capacity(self.pieces.len() + 2);
        pieces.push_back(Bytes::copy_from_slice(before.as_bytes()));
        pieces.extend(self.pieces.iter().cloned());
        pieces.push_back(Bytes::copy_from_slice(after.as_bytes()));
        Ok(Chunks(pieces))
    }
}

/// Version 1 has all entries in one text, each with a newline behind it, version 2 a list of texts.
fn write_entry(out: &mut Vec<u8>, line: &str, number: usize, version: Version) -> serde_json::Result<()> {
    match version {
        Version::V1 => {
            let text = to_body(&format!("{line}\n"))?;
            let inside = text
                .trim_ascii_end()
                .strip_prefix(b"\"")
                .and_then(|text| text.strip_suffix(b"\""));
            out.extend_from_slice(inside.unwrap_or_default());
        }
        Version::V2 => {
            if number > 0 {
                out.push(b',');
            }
            out.extend_from_slice(to_body(&line)?.trim_ascii_end());
        }
    }
    Ok(())
}

/// A body in pieces that others use too.
pub(super) struct Chunks(VecDeque<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use marblerun_wire::rest::v1;

    use super::*;

    async fn written(version: Version, lines: &[&str]) -> Vec<u8> {
        let mut written = Written::default();
        for (number, line) in lines.iter().enumerate() {
            let mut piece = Vec::new();
            write_entry(&mut piece, line, number, version).unwrap();
            written.pieces.push(piece.into());
        }
        let body = written.body(version).unwrap();
        let announced = hyper::body::Body::size_hint(&body).exact();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(announced, Some(bytes.len() as u64));
        bytes.to_vec()
    }

    #[tokio::test]
    async fn the_pieces_are_what_the_whole_reply_would_be() {
        let lines = [r#"{"a":"\u003c<>&ä"}"#, "", "\"\\\u{2028}\u{7f}", "plain"];
        for count in 0..=lines.len() {
            let lines = &lines[..count];
            let v1 = to_body(&Reply::success(v1::update_log(lines))).unwrap();
            assert_eq!(written(Version::V1, lines).await, v1);
            let update_log = lines.iter().map(ToString::to_string).collect();
            let v2 = to_body(&Reply::success(v2::UpdateLog { update_log })).unwrap();
            assert_eq!(written(Version::V2, lines).await, v2);
        }
    }
}
