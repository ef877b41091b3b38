//! Lets costly requests of strangers through one after the other, ten a second at most.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// When the last one was let through.
#[derive(Default)]
pub(crate) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Waits for its turn.
    pub async fn wait(&self) {
        const APART: Duration = Duration::from_millis(100);
        let mut last = self.0.lock().await;
        if let Some(last) = *last {
            sleep_until(last + APART).await;
        }
        *last = Some(Instant::now());
    }
}
