//! Addresses of services.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// Where a service is: `http` or `https`, host, port, and a path that others are put behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an address such as https://host:port/path without user, query and fragment, found {found:?}"
)]
pub struct NotAServiceUrl {
    /// The text, cut to 200 characters.
    pub found: String,
}

impl ServiceUrl {
    /// An address that this program was built with.
    pub(crate) fn known(text: &'static str) -> Self {
        let (host, path) = text.trim_start_matches("https://").split_once('/').map_or(
            (text.trim_start_matches("https://"), String::new()),
            |(host, path)| (host, format!("/{path}")),
        );
        Self {
            tls: true,
            host: host.to_owned(),
            port: 443,
            path,
        }
    }

    /// Whether it asks for TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is this machine by its very name: an address of loopback, or `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Host and port as in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The path with another behind it.
    pub(crate) fn path_and_query(&self, behind: &str) -> String {
        format!("{}{behind}", self.path)
    }
}

impl FromStr for ServiceUrl {
    type Err = NotAServiceUrl;

    fn from_str(text: &str) -> Result<Self, NotAServiceUrl> {
        let not = || NotAServiceUrl {
            found: text.chars().take(200).collect(),
        };
        let uri: Uri = text.parse().map_err(|_| not())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(not()),
        };
        let authority = uri.authority().ok_or_else(not)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || authority.as_str().contains('@') || uri.query().is_some() || text.contains('#')
        {
            return Err(not());
        }
        // A port that is written and is no number is no default.
        let port = match authority.port_u16() {
            Some(0) => return Err(not()),
            Some(port) => port,
            None if authority.as_str().ends_with(authority.host()) => {
                if tls {
                    443
                } else {
                    80
                }
            }
            None => return Err(not()),
        };
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown, loopback) in [
            ("https://pccs.example", "https://pccs.example", false),
            ("https://PCCS.example:8081/", "https://pccs.example:8081", false),
            ("http://127.0.0.1:80/a/b/", "http://127.0.0.1/a/b", true),
            ("http://[::1]:8080", "http://[::1]:8080", true),
            ("http://localhost:1", "http://localhost:1", true),
            ("http://localhost.example", "http://localhost.example", false),
            ("http://127.0.0.1.example", "http://127.0.0.1.example", false),
        ] {
            let url: ServiceUrl = text.parse().unwrap();
            assert_eq!(
                (url.to_string().as_str(), url.is_loopback()),
                (shown, loopback),
                "{text}"
            );
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "pccs.example",
            "/path",
            "ftp://pccs.example",
            "https://",
            "https://user@pccs.example",
            "https://user:password@pccs.example",
            "https://pccs.example?query",
            "https://pccs.example/#fragment",
            "https://pccs.example:0",
            "https://pccs.example:65536",
            "https://pccs.example:",
        ] {
            assert!(text.parse::<ServiceUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_manufacturers_are_such() {
        use crate::config::Services;
        for text in [Services::INTEL_PCS, Services::INTEL_ROOT_CRL, Services::AMD_KDS] {
            assert_eq!(text.parse::<ServiceUrl>().unwrap(), ServiceUrl::known(text));
        }
    }
}
