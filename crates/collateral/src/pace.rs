//! One new platform a second for strangers, of each manufacturer: reports of SEV-SNP can be made up by anybody, and must
//! not keep platforms of Intel waiting, whose quotes are signed before anything is fetched. Of several who ask, whoever had
//! a turn longest ago is next, so that one who asks all the time keeps nobody else out.

use std::collections::VecDeque;
use std::net::IpAddr;

use marblerun_attestation::UnixSeconds;

use crate::piece::Key;

/// How long somebody who was turned away is waited for, in seconds: longer than marbles pause between two attempts.
const PATIENCE: u64 = 8;
/// How many who wait are known, and how many who had a turn.
const KNOWN: usize = 64;

/// Whose turn it is: an IPv4 address, or the first half of an IPv6 address, of which one host may have all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Not known: all of them together.
    Unknown,
    V4([u8; 4]),
    V6([u8; 8]),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The turns of each manufacturer.
#[derive(Default)]
pub(crate) struct Pace {
    intel: Turns,
    amd: Turns,
}

impl Pace {
    /// Whether a new platform may be asked for now; if so, it counts.
    pub(crate) fn admits(&mut self, key: &Key, source: Source, now: UnixSeconds) -> bool {
        let turns = match key {
            Key::Dcap(_) => &mut self.intel,
            Key::SnpLine(..) | Key::SnpEndorsement(_) => &mut self.amd,
        };
        turns.admit(source, now)
    }
}

#[derive(Default)]
struct Turns {
    /// The second in which the last new platform was let in.
    last: Option<UnixSeconds>,
    /// Who had a turn, the longest ago first.
    had: VecDeque<Source>,
    /// Who was turned away, and when.
    waiting: VecDeque<(Source, UnixSeconds)>,
}

impl Turns {
    fn admit(&mut self, source: Source, now: UnixSeconds) -> bool {
        self.waiting
            .retain(|(_, since)| now >= *since && now.0 - since.0 < PATIENCE);
        // Whoever never had one comes before everybody who had.
        let turn = |of: Source| self.had.iter().position(|had| *had == of);
        let own = turn(source);
        let another_first = self.waiting.iter().any(|(other, _)| turn(*other) < own);
        // Another second, not a later one: a clock that was put back locks nobody out.
        let admitted = self.last != Some(now) && !another_first;
        self.waiting.retain(|(other, _)| *other != source);
        if admitted {
            self.last = Some(now);
            self.had.retain(|had| *had != source);
            push(&mut self.had, source);
        } else {
            push(&mut self.waiting, (source, now));
        }
        admitted
    }
}

/// At the limit, the first goes.
fn push<T>(queue: &mut VecDeque<T>, value: T) {
    if queue.len() >= KNOWN {
        queue.pop_front();
    }
    queue.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u8) -> Source {
        Source::V4([10, 0, 0, number])
    }

    fn at(seconds: u64) -> UnixSeconds {
        UnixSeconds(1_000_000_000 + seconds)
    }

    #[test]
    fn one_who_asks_all_the_time_keeps_nobody_out() {
        let mut turns = Turns::default();
        let (greedy, other) = (source(1), source(2));
        let mut admitted = [0, 0];
        for second in 0..100 {
            for _ in 0..50 {
                admitted[0] += u32::from(turns.admit(greedy, at(second)));
            }
            // Last in each second, and not in each of them.
            if second % 4 == 3 {
                admitted[1] += u32::from(turns.admit(other, at(second)));
            }
        }
        // At its first attempt another had the second; at each one after that it is waited for.
        assert!(admitted[1] >= 12, "{admitted:?}");
        assert!(admitted[0] >= 25, "{admitted:?}");
    }

    #[test]
    fn whoever_is_alone_has_each_second() {
        let mut turns = Turns::default();
        assert!((0..100).all(|second| turns.admit(source(1), at(second))));
        assert!(!turns.admit(source(2), at(99)));
        // Waited for, but not for ever.
        assert!((100..99 + PATIENCE).all(|second| !turns.admit(source(1), at(second))));
        assert!(turns.admit(source(1), at(99 + PATIENCE)));
    }

    #[test]
    fn a_bounded_number_is_known() {
        let mut turns = Turns::default();
        for number in 0..=255 {
            assert!(turns.admit(source(number), at(u64::from(number))));
        }
        for number in 0..=255 {
            assert!(!turns.admit(Source::V6([number; 8]), at(255)));
        }
        assert_eq!((turns.had.len(), turns.waiting.len()), (KNOWN, KNOWN));
        assert_eq!(turns.waiting.back().unwrap().0, Source::V6([255; 8]));
    }

    #[test]
    fn addresses_of_one_host_are_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }
}
