//! One new platform a second for strangers, of each manufacturer: reports of SEV-SNP can be made up by anybody, and must
//! not keep platforms of Intel waiting, whose quotes are signed before anything is fetched.

use marblerun_attestation::UnixSeconds;

use crate::piece::Key;

/// The second in which the last new platform was let in.
#[derive(Default)]
pub(crate) struct Pace {
    intel: Option<UnixSeconds>,
    amd: Option<UnixSeconds>,
}

impl Pace {
    /// Whether a new platform may be asked for now; if so, it counts.
    pub(crate) fn admits(&mut self, key: &Key, now: UnixSeconds) -> bool {
        let last = match key {
            Key::Dcap(_) => &mut self.intel,
            Key::SnpLine(..) | Key::SnpEndorsement(_) => &mut self.amd,
        };
        // Another second, not a later one: a clock that was put back locks nobody out.
        *last != Some(now) && {
            *last = Some(now);
            true
        }
    }
}
