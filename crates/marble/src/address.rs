//! Where a Coordinator listens.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use rustls_pki_types::DnsName;

/// `host:port`: a DNS name or an IP address (IPv6 in brackets), and a TCP port other than 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorAddress {
    host: String,
    port: u16,
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no address: expected {EXPECTED}")]
pub struct AddressError {
    found: String,
}

pub(crate) const EXPECTED: &str = "host:port, an IPv6 address in brackets";

impl CoordinatorAddress {
    /// The DNS name, or the IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for CoordinatorAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).ok_or_else(|| AddressError {
            found: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<CoordinatorAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok()?.to_string(),
        None if host.parse::<Ipv4Addr>().is_ok() || DnsName::try_from(host).is_ok() => host.to_owned(),
        None => return None,
    };
    Some(CoordinatorAddress { host, port })
}

impl fmt::Display for CoordinatorAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_taken_and_printed_as_they_were() {
        for (text, host, port) in [
            ("coordinator.example:2001", "coordinator.example", 2001),
            ("my_coordinator:4433", "my_coordinator", 4433),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[::1]:65535", "::1", 65535),
        ] {
            let address: CoordinatorAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "coordinator",
            ":2001",
            "a:0",
            "a:65536",
            "a:b",
            "::1:2001",
            "a b:1",
            "[a]:1",
            "http://a:1",
        ] {
            let refused = text.parse::<CoordinatorAddress>().unwrap_err().to_string();
            assert_eq!(
                refused,
                format!("{text:?} is no address: expected host:port, an IPv6 address in brackets")
            );
        }
    }
}
