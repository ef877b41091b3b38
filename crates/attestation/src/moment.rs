//! The time at which evidence is judged. This crate has no clock: the caller brings it.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// Parses an RFC 3339 date and time; fractions of a second are cut off. `None` for anything else, and for times
    /// before 1970.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(parsed.unix_timestamp()).ok().map(Self)
    }
}

impl fmt::Display for UnixSeconds {
    /// RFC 3339, in UTC; the number itself beyond the year 9999.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = i64::try_from(self.0)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|time| time.format(&Rfc3339).ok());
        match text {
            Some(text) => formatter.write_str(&text),
            None => write!(formatter, "{} s after 1970", self.0),
        }
    }
}

/// When something is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: UnixSeconds,
    pub(crate) until: UnixSeconds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        let time = UnixSeconds(1_750_416_971);
        assert_eq!(time.to_string(), "2025-06-20T10:56:11Z");
        assert_eq!(UnixSeconds::parse("2025-06-20T10:56:11Z"), Some(time));
        assert_eq!(UnixSeconds::parse("2025-06-20T12:56:11.9+02:00"), Some(time));
    }

    #[test]
    fn other_texts_and_times_before_1970_are_refused() {
        for text in ["", "2025-06-20", "1969-12-31T23:59:59Z", "yesterday"] {
            assert_eq!(UnixSeconds::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_number_can_be_shown() {
        assert_eq!(
            UnixSeconds(u64::MAX).to_string(),
            "18446744073709551615 s after 1970"
        );
    }
}
