//! Names under which a server can be reached, as certificates carry them.

use std::fmt;
use std::net::IpAddr;

use super::name::MAX_DNS_NAME;

/// A DNS name or an IP address: one entry of a certificate's subject alternative names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostName {
    /// A DNS name as written: 1 to 253 printable ASCII characters, no blanks. It may be a wildcard.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

impl HostName {
    /// What parses as an IP address is one; everything else is a DNS name.
    ///
    /// # Errors
    /// [`HostNameError`] if it can be neither.
    pub fn parse(text: &str) -> Result<Self, HostNameError> {
        match text.parse() {
            Ok(address) => Ok(Self::Ip(address)),
            Err(_) => Self::dns(text),
        }
    }

    /// A DNS name, even if it looks like an address.
    pub(super) fn dns(text: &str) -> Result<Self, HostNameError> {
        match text.len() {
            0 => Err(HostNameError::Empty),
            1..=MAX_DNS_NAME => match text.bytes().all(|byte| byte.is_ascii_graphic()) {
                true => Ok(Self::Dns(text.to_owned())),
                false => Err(HostNameError::Characters),
            },
            length => Err(HostNameError::TooLong { length }),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// Nothing there.
    #[error("a host name is empty")]
    Empty,
    /// Longer than DNS permits (RFC 1035 section 3.1).
    #[error("a host name has {length} bytes, at most {MAX_DNS_NAME} are possible")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Blanks, control characters, or not ASCII: international names have to be written in their `xn--` form.
    #[error(
        "a host name holds characters other than printable ASCII (international names: use the `xn--` form)"
    )]
    Characters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert_eq!(HostName::parse("::1"), Ok(HostName::Ip("::1".parse().unwrap())));
        assert_eq!(
            HostName::parse("10.0.0.1"),
            Ok(HostName::Ip("10.0.0.1".parse().unwrap()))
        );
        assert_eq!(
            HostName::parse("*.example.org"),
            Ok(HostName::Dns("*.example.org".into()))
        );
        assert_eq!(
            HostName::parse("10.0.0.256"),
            Ok(HostName::Dns("10.0.0.256".into()))
        );
    }

    #[test]
    fn what_no_certificate_can_carry_is_refused() {
        assert_eq!(HostName::parse(""), Err(HostNameError::Empty));
        assert_eq!(
            HostName::parse(&"a".repeat(254)),
            Err(HostNameError::TooLong { length: 254 })
        );
        for text in ["müller.example", "a b", "a\0b", "a\n"] {
            assert_eq!(HostName::parse(text), Err(HostNameError::Characters), "{text:?}");
        }
    }
}
