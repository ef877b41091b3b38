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
use marblerun_core::flow::inspect::{self, HashedEntry};
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

/// The entries of the log, and their hashes, as they stand in the reply.
#[derive(Clone, Default)]
struct Written {
    entries: usize,
    /// Hash of the last of them.
    last: [u8; 32],
    log: Pieces,
    /// Only in version 2.
    hashes: Pieces,
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
        let (mut next, new) = match inspect::update_log_behind(state, self.entries, &self.last)? {
            Some(new) => (self.clone(), new),
            None => {
                let all = inspect::update_log_behind(state, 0, &[0; 32])?;
                (Self::default(), all.unwrap_or_default())
            }
        };
        for (number, entry) in (next.entries..).zip(new) {
            next.write(&entry, number, version).map_err(Refusal::internal)?;
        }
        next.log.close();
        next.hashes.close();
        (next.entries, next.last) = (entries, last);
        Ok(next)
    }

    fn write(
        &mut self,
        (line, hash): &HashedEntry,
        number: usize,
        version: Version,
    ) -> serde_json::Result<()> {
        let separator = if number > 0 { "," } else { "" };
        match version {
            // All entries in one text, each with a newline behind it.
            Version::V1 => {
                let text = to_body(&format!("{line}\n"))?;
                let inside = text
                    .trim_ascii_end()
                    .strip_prefix(b"\"")
                    .and_then(|text| text.strip_suffix(b"\""));
                self.log.push(&[inside.unwrap_or_default()]);
            }
            Version::V2 => {
                let text = to_body(&line)?;
                self.log.push(&[separator.as_bytes(), text.trim_ascii_end()]);
                let hash = format!("{separator}\"{}\"", hex::encode(hash));
                self.hashes.push(&[hash.as_bytes()]);
            }
        }
        Ok(())
    }

    /// The whole reply: what stands around the entries of a log and their hashes, with these between.
    fn body(&self, version: Version) -> Result<Chunks, Refusal> {
        let (empty, gaps) = match version {
            Version::V1 => (
                to_body(&Reply::success("")),
                [Some(("\"data\":\"", &self.log)), None],
            ),
            Version::V2 => (
                to_body(&Reply::success(v2::UpdateLog {
                    update_log: Vec::new(),
                    update_log_hashes: Some(Vec::new()),
                })),
                [
                    Some(("\"updateLog\":[", &self.log)),
                    Some(("\"updateLogHashes\":[", &self.hashes)),
                ],
            ),
        };
        let empty = String::from_utf8(empty.map_err(Refusal::internal)?).map_err(Refusal::internal)?;
        let mut around = empty.as_str();
        let mut pieces = VecDeque::with_capacity(self.log.closed.len() + self.hashes.closed.len() + 3);
        for (gap, content) in gaps.into_iter().flatten() {
            let place = around.find(gap).map(|begin| begin + gap.len());
            let place = place.ok_or_else(|| Refusal::internal("the reply has no place for the log"))?;
            let (before, after) = around.split_at(place);
            pieces.push_back(Bytes::copy_from_slice(before.as_bytes()));
            pieces.extend(content.closed.iter().cloned());
            around = after;
        }
        pieces.push_back(Bytes::copy_from_slice(around.as_bytes()));
        Ok(Chunks(pieces))
    }
}

/// A text that grows at its end. What is closed is shared by all replies.
#[derive(Clone, Default)]
struct Pieces {
    closed: Vec<Bytes>,
    open: Vec<u8>,
}

impl Pieces {
    fn push(&mut self, parts: &[&[u8]]) {
        if self.open.is_empty()
            && let Some(last) = self.closed.pop_if(|last| last.len() < PIECE)
        {
            self.open = last.to_vec();
        }
        self.open.extend(parts.iter().copied().flatten());
        if self.open.len() >= PIECE {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push(std::mem::take(&mut self.open).into());
        }
    }
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

    /// The reply of a log that got its entries in as many steps.
    async fn written(version: Version, entries: &[HashedEntry]) -> Vec<u8> {
        let mut written = Written::default();
        for (number, entry) in entries.iter().enumerate() {
            written.write(entry, number, version).unwrap();
            written.log.close();
            written.hashes.close();
        }
        let body = written.body(version).unwrap();
        let announced = hyper::body::Body::size_hint(&body).exact();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(announced, Some(bytes.len() as u64));
        bytes.to_vec()
    }

    #[tokio::test]
    async fn the_pieces_are_what_the_whole_reply_would_be() {
        // The third makes the next one begin another piece; the second looks like a place of the reply.
        let long = "long ".repeat(PIECE / 5 + 1);
        let lines = [
            r#"{"a":"\u003c<>&ä"}"#,
            r#""updateLogHashes":["#,
            &long,
            "\"\\\u{2028}\u{7f}",
            "",
        ];
        let entries: Vec<_> = (0..).zip(lines).map(|(n, line)| (line.into(), [n; 32])).collect();
        for count in 0..=lines.len() {
            let (lines, entries) = (&lines[..count], &entries[..count]);
            let v1 = to_body(&Reply::success(v1::update_log(lines))).unwrap();
            assert!(written(Version::V1, entries).await == v1, "{count}");
            let v2 = to_body(&Reply::success(v2::UpdateLog {
                update_log: lines.iter().map(ToString::to_string).collect(),
                update_log_hashes: Some(entries.iter().map(|(_, hash)| hex::encode(hash)).collect()),
            }));
            assert!(written(Version::V2, entries).await == v2.unwrap(), "{count}");
        }
    }

    #[test]
    fn a_text_is_copied_no_further_than_its_last_piece() {
        let mut pieces = Pieces::default();
        for _ in 0..20 {
            pieces.push(&[&[b'x'; PIECE / 4]]);
            pieces.close();
        }
        let sizes: Vec<_> = pieces.closed.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [PIECE; 5]);
    }
}
