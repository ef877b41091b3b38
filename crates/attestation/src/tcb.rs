//! The state of a platform's trusted computing base as Intel's TCB information rates it.

use std::fmt;
use std::str::FromStr;

/// `tcbStatus` of the Intel PCS v4 API. Which are accepted is the manifest's choice (spec/08).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TcbStatus {
    /// Nothing to do.
    UpToDate,
    /// The platform is current; the software must mitigate what the advisories describe.
    SWHardeningNeeded,
    /// The platform is current; it needs configuring (for example hyper-threading).
    ConfigurationNeeded,
    /// Both of the above.
    ConfigurationAndSWHardeningNeeded,
    /// Firmware or microcode lacks a security update.
    OutOfDate,
    /// As before, and it needs configuring too.
    OutOfDateConfigurationNeeded,
    /// The platform, or a key of it, is compromised.
    Revoked,
}

impl TcbStatus {
    /// All, from best to worst.
    pub const ALL: [Self; 7] = [
        Self::UpToDate,
        Self::SWHardeningNeeded,
        Self::ConfigurationNeeded,
        Self::ConfigurationAndSWHardeningNeeded,
        Self::OutOfDate,
        Self::OutOfDateConfigurationNeeded,
        Self::Revoked,
    ];

    /// The exact spelling in Intel's TCB information and in `AcceptedTCBStatuses` of a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SWHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSWHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::Revoked => "Revoked",
        }
    }
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that is no TCB status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown TCB status {found:?}: expected exactly one of {}", TcbStatus::ALL.map(TcbStatus::as_str).join(", "))]
pub struct UnknownTcbStatus {
    /// The text.
    pub found: String,
}

impl FromStr for TcbStatus {
    type Err = UnknownTcbStatus;

    /// Exact spelling, case included.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownTcbStatus {
                found: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_reads_back() {
        for status in TcbStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
    }

    #[test]
    fn another_spelling_is_refused_and_the_message_lists_the_right_ones() {
        let refused = "uptodate".parse::<TcbStatus>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "unknown TCB status \"uptodate\": expected exactly one of UpToDate, SWHardeningNeeded, \
             ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDate, OutOfDateConfigurationNeeded, Revoked"
        );
    }
}
