//! The values settings may have, and how each is read from text.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use marblerun_core::pki::HostName;

use super::ConfigError;

pub(super) const SWITCH: &str = "1 (on) or 0 (off)";
pub(super) const ADDRESS: &str =
    "host:port, where the host may be empty (all interfaces), a name or an IP address";
pub(super) const DNS_NAMES: &str = "a comma-separated list of DNS names and IP addresses";
pub(super) const LOG_FORMAT: &str = "json or text";
pub(super) const LOG_LEVEL: &str = "debug, info, warn or error";
pub(super) const SUITE: &str = "p256-aes128 or p384-aes256";
pub(super) const LIMIT_MANIFEST: &str = "a number of bytes from 1 to 1073741824";
pub(super) const LIMIT_ENTRIES: &str = "a number from 1 to 10000000";

pub(super) const COLLECTOR: &str = if cfg!(feature = "opentelemetry") {
    "http://host:port, where an OpenTelemetry collector takes OTLP over gRPC"
} else {
    "nothing, as this program was built without the feature opentelemetry"
};

pub(super) const SIMULATED_TEE: &str = "sgx, tdx or snp";
pub(super) const IN_STRICT_SIMULATION: &str = "nothing, or --simulation-strict beside it";
pub(super) const GRACE: &str = "a whole number with unit s, m, h or d, at most 30 days";

/// The address of an OpenTelemetry collector, if spans can be sent at all.
pub(super) fn collector(text: &str) -> Option<String> {
    let address: http::Uri = text.parse().ok()?;
    let plain = address.scheme_str() == Some("http") && address.path() == "/" && address.query().is_none();
    // A password would be sent in clear.
    let has_user = address
        .authority()
        .is_some_and(|name| name.as_str().contains('@'));
    (cfg!(feature = "opentelemetry") && plain && !has_user && address.port().is_some())
        .then(|| text.to_owned())
}

/// Directives for the log. Whatever else stands there would be taken for the name of a target, and nothing would be logged.
pub(super) fn directives(environment: &BTreeMap<String, String>) -> Result<Option<String>, ConfigError> {
    const PLACE: &str = "RUST_LOG";
    match environment.get(PLACE).filter(|text| !text.is_empty()) {
        Some(text) if !text.split(',').all(|one| is_directive(one.trim())) => Err(ConfigError::Value {
            place: PLACE.to_owned(),
            expected: "directives `level` or `target=level`, comma-separated, of level off, error, warn, info, debug or trace",
            found: text.chars().take(100).collect(),
        }),
        given => Ok(given.cloned()),
    }
}

fn is_directive(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let of_target = |byte: u8| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte);
    let (target, level) = text.split_once('=').unwrap_or(("all", text));
    let known = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
    known && !target.is_empty() && target.bytes().all(of_target)
}

/// A duration of at most 30 days; without unit, 0 only.
pub(super) fn grace(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.then(|| number.parse().ok())??;
    Some(Duration::from_secs(number.checked_mul(seconds)?)).filter(|grace| *grace <= LONGEST)
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// A name or an IP address; `None`: all interfaces.
    pub host: Option<String>,
    /// The TCP port; 0: any that is free.
    pub port: u16,
}

impl ListenAddress {
    /// A port on all interfaces.
    pub const fn all_interfaces(port: u16) -> Self {
        Self { host: None, port }
    }

    /// Reads `host:port`; IPv6 addresses stand in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| port.parse().ok())??;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .filter(|address| address.parse::<IpAddr>().is_ok())?,
            None if host.contains(':') => return None,
            None => host,
        };
        let known = host.is_empty() || host.parse::<IpAddr>().is_ok() || is_dns_name(host);
        known.then(|| Self {
            host: (!host.is_empty()).then(|| host.to_owned()),
            port,
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{}:{}", host.unwrap_or_default(), self.port),
        }
    }
}

/// Blanks around entries and empty entries are dropped.
pub(super) fn dns_names(text: &str) -> Option<Vec<HostName>> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let host = name.strip_prefix("*.").unwrap_or(name);
            (name.parse::<IpAddr>().is_ok() || is_dns_name(host)).then(|| HostName::parse(name).ok())?
        })
        .collect()
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63 bytes, 253 bytes in all (RFC 1123 section 2.1,
/// with the underscore that real networks use).
fn is_dns_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

impl LogFormat {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `warn`
    Warn,
    /// `error`
    Error,
}

impl LogLevel {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" => Some(Self::Warn),
            "error" => Some(Self::Error),
            _ => None,
        }
    }
}

pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

pub(super) fn limit_manifest(text: &str) -> Option<usize> {
    text.parse().ok().filter(|bytes| (1..=1 << 30).contains(bytes))
}

pub(super) fn limit_entries(text: &str) -> Option<usize> {
    text.parse()
        .ok()
        .filter(|entries| (1..=10_000_000).contains(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graces_have_a_unit_and_an_end() {
        let seconds = |text| grace(text).map(|grace| grace.as_secs());
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("5m"), Some(300));
        assert_eq!(seconds("12h"), Some(12 * 3600));
        assert_eq!(seconds("30d"), Some(30 * 24 * 3600));
        for bad in [
            "",
            "1",
            "d",
            "-1d",
            "+1d",
            "31d",
            "1w",
            "1ü",
            "99999999999999999999d",
        ] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn addresses_have_a_port_and_may_have_a_host() {
        let parsed = |text| {
            ListenAddress::parse(text)
                .map(|address| (address.host.clone(), address.port, address.to_string()))
        };
        assert_eq!(parsed(":2001"), Some((None, 2001, ":2001".into())));
        assert_eq!(parsed("[::1]:0"), Some((Some("::1".into()), 0, "[::1]:0".into())));
        assert_eq!(
            parsed("127.0.0.1:80"),
            Some((Some("127.0.0.1".into()), 80, "127.0.0.1:80".into()))
        );
        assert_eq!(
            parsed("host.example:65535"),
            Some((Some("host.example".into()), 65535, "host.example:65535".into()))
        );
        for bad in [
            "", "2001", ":", ":65536", ":-1", ":+1", "::1:2", "[x]:1", "a b:1", "host:",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_trimmed_and_checked() {
        let names =
            |text| dns_names(text).map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            names(" a.example ,, 10.0.0.1,::1, *.b "),
            Some(vec![
                "a.example".into(),
                "10.0.0.1".into(),
                "::1".into(),
                "*.b".into()
            ])
        );
        assert_eq!(names(" , "), Some(vec![]));
        for bad in ["a b", "a..b", "ä", "a/b", "*"] {
            assert_eq!(names(bad), None, "{bad}");
        }
    }
}
