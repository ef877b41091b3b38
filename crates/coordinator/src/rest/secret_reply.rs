//! Replies with secrets, which are made for each request: bounded together, so that users who ask and do not read cannot
//! have the Coordinator keep any number of them.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_wire::rest::{Reply, to_secret_body};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::reply::{self, RefusedAs, Version};

/// Bytes of such replies that are on their way at a time.
const BYTES: u32 = 64 << 20;
/// Smaller ones are always sent: values of the usual kinds can be read whatever others do.
const SMALL: usize = 4 << 10;

/// The replies that are on their way.
pub(super) struct SecretReplies {
    left: Arc<Semaphore>,
    bytes: u32,
}

impl Default for SecretReplies {
    fn default() -> Self {
        Self::of(BYTES)
    }
}

/// A body that counts until it is sent; it is wiped then.
struct Counted {
    body: Zeroizing<Vec<u8>>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl SecretReplies {
    fn of(bytes: u32) -> Self {
        let left = Arc::new(Semaphore::new(bytes as usize));
        Self { left, bytes }
    }

    /// 200 with data that holds secrets; 503 where too much is on its way already.
    pub fn success<T: Serialize>(&self, version: Version, data: T) -> Response {
        let body = match to_secret_body(&Reply::success(data)) {
            Ok(body) => body,
            Err(error) => return reply::unwritable(&error),
        };
        if body.len() <= SMALL {
            return reply::success_body(Bytes::from_owner(body));
        }
        // One that is larger than all together goes alone.
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).min(self.bytes);
        match Arc::clone(&self.left).try_acquire_many_owned(bytes) {
            Ok(place) => reply::success_body(Bytes::from_owner(Counted { body, _place: place })),
            Err(_) => {
                let crowded = "too many replies with secrets are on their way; ask again";
                let refusal = Refusal::new(RefusalKind::Unavailable, crowded);
                reply::refusal(version, RefusedAs::BadRequestInV1, &refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_is_bounded_and_what_is_small_gets_through() {
        let replies = SecretReplies::of(30_000);
        let ask = |bytes: usize| replies.success(Version::V2, "x".repeat(bytes));
        let first = ask(20_000);
        assert_eq!(first.status(), 200);
        let refused = ask(20_000);
        assert_eq!(refused.status(), 503);
        assert_eq!(ask(3_000).status(), 200);
        drop(first);
        let second = ask(20_000);
        assert_eq!(second.status(), 200);
        drop(second);
        // Larger than all together: alone.
        let largest = ask(100_000);
        assert_eq!(largest.status(), 200);
        assert_eq!(ask(5_000).status(), 503);
        drop(largest);
        assert_eq!(ask(5_000).status(), 200);
    }
}
