//! How long collateral is good enough: a choice of whoever relies on it, and no part of what the manufacturers sign.

use std::time::Duration;

use crate::chain::certificate::valid_at;
use crate::moment::{Period, UnixSeconds};
use crate::reason::{Dated, Reason};

/// How far behind its `nextUpdate` collateral may be. It concerns revocation lists, TCB information and QE identity
/// alone: a certificate is never good after its end, and nothing is good before its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FreshnessPolicy {
    /// For how long after `nextUpdate`. Zero, the default: not at all.
    pub grace: Duration,
}

/// The time evidence is judged as of, and by which policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsOf {
    pub(crate) now: UnixSeconds,
    pub(crate) policy: FreshnessPolicy,
}

impl AsOf {
    /// Checks the period of something that is part of collateral.
    pub(crate) fn in_force(self, (dated, period): (Dated, Period)) -> Result<(), Reason> {
        let grace = match dated {
            Dated::Certificate(_) => 0,
            Dated::List(_) | Dated::TcbInfo | Dated::QeIdentity => self.policy.grace.as_secs(),
        };
        if self.now > period.until && self.now.0 <= period.until.0.saturating_add(grace) {
            return Ok(());
        }
        valid_at(self.now, (dated, period))
    }
}
