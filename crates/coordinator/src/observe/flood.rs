//! Lines that a stranger can cause as often as he likes are bounded: so many at once, so many a second, and the number of
//! those left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of a kind that are written at once.
const BURST: u32 = 200;
/// After that, one in this time.
const PAUSE: Duration = Duration::from_millis(500);

/// The lines of one kind.
pub(crate) struct Limit(Mutex<Lines>);

struct Lines {
    /// How many may be written still, at the moment below.
    allowed: u32,
    /// `None`: none was written yet.
    since: Option<Instant>,
    left_out: u64,
}

impl Limit {
    /// Nothing was written.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Lines {
            allowed: BURST,
            since: None,
            left_out: 0,
        }))
    }

    /// Whether a line may be written now: then how many were left out before it.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *lines.since.get_or_insert(now);
        let earned = now.saturating_duration_since(since).as_millis() / PAUSE.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            lines.allowed = lines.allowed.saturating_add(earned).min(BURST);
            // What is over counts for the next one.
            lines.since = Some(since.checked_add(PAUSE.saturating_mul(earned)).unwrap_or(now));
        }
        match lines.allowed.checked_sub(1) {
            Some(allowed) => {
                lines.allowed = allowed;
                Some(std::mem::take(&mut lines.left_out))
            }
            None => {
                lines.left_out = lines.left_out.saturating_add(1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_trickle_that_says_how_much_is_missing() {
        let limit = Limit::new();
        let begin = Instant::now();
        for _ in 0..BURST {
            assert_eq!(limit.admit_at(begin), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(limit.admit_at(begin), None);
        }
        assert_eq!(limit.admit_at(begin + PAUSE * 2), Some(1000));
        assert_eq!(limit.admit_at(begin + PAUSE * 2), Some(0));
        assert_eq!(limit.admit_at(begin + PAUSE * 2), None);
        // Rest is rewarded, up to the same bound.
        let later = begin + PAUSE * 10_000;
        assert_eq!(limit.admit_at(later), Some(1));
        for _ in 1..BURST {
            assert_eq!(limit.admit_at(later), Some(0));
        }
        assert_eq!(limit.admit_at(later), None);
    }

    #[test]
    fn a_slow_stream_of_lines_is_not_bounded() {
        let limit = Limit::new();
        let begin = Instant::now();
        for number in 0..10 * BURST {
            assert_eq!(limit.admit_at(begin + PAUSE * number), Some(0));
        }
    }
}
