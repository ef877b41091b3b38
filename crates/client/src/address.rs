//! Where a Coordinator listens.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls_pki_types::ServerName;

/// `host:port`; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Address {
    /// The host without brackets: a name or an IP address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as certificates name it.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.name.clone()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = |reason: &'static str| AddressError {
            address: text.to_owned(),
            reason,
        };
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| refuse("the port is missing"))?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| refuse("the port must be a number from 1 to 65535"))?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed
                .strip_suffix(']')
                .ok_or_else(|| refuse("the closing bracket is missing"))?,
            None if host.contains("//") => {
                return Err(refuse("there must be no scheme such as https:// before the host"));
            }
            None if host.contains(':') => return Err(refuse("an IPv6 address must stand in brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(refuse("the host is missing"));
        }
        let name = match host.parse::<IpAddr>() {
            Ok(ip) => ServerName::from(ip),
            Err(_) => ServerName::try_from(host.to_owned())
                .map_err(|_| refuse("the host is neither a DNS name nor an IP address"))?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            name,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// Not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is not an address of the form host:port: {reason}")]
pub struct AddressError {
    /// What was given.
    pub address: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, host, port) in [
            ("localhost:4433", "localhost", 4433),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[::1]:4433", "::1", 4433),
            (
                "coordinator-client-api.marblerun:4433",
                "coordinator-client-api.marblerun",
                4433,
            ),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn refusals() {
        for (text, reason) in [
            ("localhost", "port is missing"),
            ("", "port is missing"),
            ("localhost:", "number"),
            ("localhost:0", "number"),
            ("localhost:70000", "number"),
            (":4433", "host is missing"),
            ("::1:4433", "brackets"),
            ("[::1:4433", "closing bracket"),
            ("https://localhost:4433", "scheme"),
            ("local host:4433", "neither a DNS name"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(
                error.contains(reason) && error.contains("host:port"),
                "{text}: {error}"
            );
        }
    }
}
