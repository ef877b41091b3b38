//! How many requests were refused, by kind, in this process.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use marblerun_core::refusal::RefusalKind;

/// Every kind, with its name in logs and metrics.
const KINDS: [(RefusalKind, &str); 11] = [
    (RefusalKind::WrongPhase, "wrong_phase"),
    (RefusalKind::Invalid, "invalid"),
    (RefusalKind::Malformed, "malformed"),
    (RefusalKind::Unauthenticated, "unauthenticated"),
    (RefusalKind::Denied, "denied"),
    (RefusalKind::FeatureDisabled, "feature_disabled"),
    (RefusalKind::NotFound, "not_found"),
    (RefusalKind::Conflict, "conflict"),
    (RefusalKind::TooLarge, "too_large"),
    (RefusalKind::Unavailable, "unavailable"),
    (RefusalKind::Internal, "internal"),
];

static COUNTS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// Requests for what there is not: an unknown path, a method that the path lacks, or what is no request of gRPC.
static NO_SUCH_OPERATION: AtomicU64 = AtomicU64::new(0);

/// Counts a request for what there is not.
pub fn no_such_operation() {
    NO_SUCH_OPERATION.fetch_add(1, Ordering::Relaxed);
}

/// All reasons with how often there were requests refused for them.
pub fn all() -> impl Iterator<Item = (&'static str, u64)> {
    let others = ("no_such_operation", NO_SUCH_OPERATION.load(Ordering::Relaxed));
    KINDS
        .into_iter()
        .map(|(kind, name)| (name, of(kind)))
        .chain([others])
}

/// Counts a refusal that is about to be answered.
pub fn refused(kind: RefusalKind) {
    let counted = KINDS.iter().zip(&COUNTS).find(|((known, _), _)| *known == kind);
    if let Some((_, count)) = counted {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many refusals of this kind there were.
pub fn of(kind: RefusalKind) -> u64 {
    let counted = KINDS.iter().zip(&COUNTS).find(|((known, _), _)| *known == kind);
    counted.map_or(0, |(_, count)| count.load(Ordering::Relaxed))
}

/// All counts, as `invalid=3 internal=0`: kinds that did not occur are left out, but never the internal errors.
pub struct Summary;

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, name) in KINDS {
            let count = of(kind);
            if count > 0 && kind != RefusalKind::Internal {
                write!(formatter, "{name}={count} ")?;
            }
        }
        write!(formatter, "internal={}", of(RefusalKind::Internal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_for_itself() {
        for (kind, _) in KINDS {
            let before = KINDS.map(|(kind, _)| of(kind));
            refused(kind);
            for ((other, _), before) in KINDS.into_iter().zip(before) {
                // Other tests of this process may count meanwhile.
                assert!(of(other) >= before + u64::from(other == kind), "{other:?}");
            }
        }
        assert!(Summary.to_string().contains("internal="));
    }
}
