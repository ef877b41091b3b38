//! Why a Coordinator could not be reached, trusted or asked. The texts do not repeat those of their sources: print
//! the whole chain.

use std::fmt;
use std::io;
use std::time::Duration;

use marblerun_attestation::policy::RuleOutcome;
use marblerun_wire::is_hidden;

use crate::address::Address;
use crate::certificate::CertificateError;
use crate::verification::EvidenceError;

/// Why there is no [`crate::Attested`].
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection.
    #[error("cannot reach the Coordinator at {address}")]
    Unreachable {
        /// Where.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// No connection in time.
    #[error("the Coordinator at {address} did not answer within {}", seconds(limit))]
    Timeout {
        /// Where.
        address: Address,
        /// How long was waited.
        limit: Duration,
    },
    /// The certificate presented is not the pinned one.
    #[error("the Coordinator at {address} presents another root certificate than the pinned one")]
    NotPinned {
        /// Where.
        address: Address,
    },
    /// The certificate is not for this host.
    #[error("the certificate of the Coordinator at {address} is not for this host; it is for: {}", names.join(", "))]
    WrongName {
        /// Where.
        address: Address,
        /// What the certificate is for.
        names: Vec<String>,
    },
    /// No TLS 1.3 session: what answers is no Coordinator, or it does not prove the key of its certificate.
    #[error("no TLS 1.3 session with {address}")]
    Tls {
        /// Where.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// No HTTP on the session.
    #[error("no HTTP connection with {address}")]
    Http {
        /// Where.
        address: Address,
        /// Why.
        source: hyper::Error,
    },
    /// The Coordinator has no evidence to verify, being in simulation.
    #[error("the Coordinator at {address} is in SIMULATION: it has no evidence to verify")]
    Simulation {
        /// Where.
        address: Address,
    },
    /// The evidence is not that of a TEE about the certificate of this session, or cannot be verified.
    #[error("the evidence of the Coordinator at {address} was not verified")]
    Evidence {
        /// Where.
        address: Address,
        /// What was refused.
        evidence: RefusedEvidence,
        /// Why.
        source: Box<EvidenceError>,
    },
    /// The evidence was verified, and it is that of another Coordinator than the one expected.
    #[error(
        "the Coordinator at {address} is not the one expected: {}",
        broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    NotExpected {
        /// Where.
        address: Address,
        /// What was refused.
        evidence: RefusedEvidence,
        /// The rules that are not kept.
        broken: Vec<RuleOutcome>,
    },
    /// The certificate chain that came with the evidence is unusable.
    #[error("the Coordinator at {address} sent an unusable certificate chain")]
    Chain {
        /// Where.
        address: Address,
        /// Why.
        source: CertificateError,
    },
    /// The evidence is about another certificate than the one of this session.
    #[error(
        "the evidence of the Coordinator at {address} is about another certificate than the one it presents"
    )]
    OtherCertificate {
        /// Where.
        address: Address,
    },
    /// Asking for the evidence failed.
    #[error(transparent)]
    Request(Box<RequestError>),
}

impl ConnectError {
    /// The evidence that was refused, if it was for its evidence that the Coordinator was not believed.
    pub fn refused_evidence(&self) -> Option<&RefusedEvidence> {
        match self {
            Self::Evidence { evidence, .. } | Self::NotExpected { evidence, .. } => Some(evidence),
            _ => None,
        }
    }
}

/// Evidence of a Coordinator that was not believed, as received: to find out why, for nothing else. It is not longer
/// than the answer it came in.
#[derive(Clone, PartialEq, Eq)]
pub struct RefusedEvidence(Box<[u8]>);

impl RefusedEvidence {
    pub(crate) fn new(evidence: &[u8]) -> Self {
        Self(evidence.into())
    }

    /// The bytes, which nobody vouches for.
    pub fn unverified_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RefusedEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefusedEvidence({} bytes)", self.0.len())
    }
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The Coordinator said no.
    #[error("the Coordinator refused {request} with HTTP {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// Its reason, made printable.
        message: String,
    },
    /// The Coordinator does not know the request, being older or newer.
    #[error("the Coordinator does not offer {request} (HTTP 405): its version does not know this endpoint")]
    NotOffered {
        /// Method and path.
        request: String,
    },
    /// No complete answer in time. Whether the request was carried out is not known.
    #[error("no complete answer to {request} within {}", seconds(limit))]
    Timeout {
        /// Method and path.
        request: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer is longer than this client takes.
    #[error("the answer to {request} is longer than {limit} bytes")]
    TooLarge {
        /// Method and path.
        request: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The connection broke. Whether the request was carried out is not known.
    #[error("the connection broke during {request}")]
    Broken {
        /// Method and path.
        request: String,
        /// Why.
        source: hyper::Error,
    },
    /// The connection was gone before the request, and could not be opened again.
    #[error(transparent)]
    Reconnect(Box<ConnectError>),
    /// The answer is not one of a Coordinator.
    #[error("the answer to {request} (HTTP {status}) is not that of a Coordinator: {reason}")]
    NotAnAnswer {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it; never quotes values.
        reason: String,
    },
    /// The request itself could not be written.
    #[error("cannot write {request}: {reason}")]
    Unwritable {
        /// Method and path.
        request: String,
        /// Why.
        reason: String,
    },
}

fn seconds(limit: &Duration) -> String {
    format!("{} s", limit.as_secs_f32())
}

/// The text with what is not to be seen in it (but for line breaks) replaced, and cut at 4,096 characters: it comes from
/// the other side and ends on a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(4096)
        .map(|character| {
            if is_hidden(character) && character != '\n' {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cannot_drive_a_terminal() {
        assert_eq!(printable("a\nb\u{1b}[31mc"), "a\nb\u{fffd}[31mc");
        assert_eq!(
            printable("a\u{202e}b\u{2066}c\u{200b}"),
            "a\u{fffd}b\u{fffd}c\u{200b}"
        );
        assert_eq!(printable(&"x".repeat(5000)).len(), 4096);
    }
}
