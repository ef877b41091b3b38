//! Connecting to a Coordinator, and the connection that results.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use marblerun_attestation::ReportBinding;
use marblerun_attestation::policy::RuleOutcome;
use marblerun_wire::rest::{Reply, ReplyStatus, read_reply, to_secret_body, v2};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::certificate::{CertificateChain, Pin};
use crate::connection::{Connection, ExchangeError};
use crate::error::{ConnectError, RefusedEvidence, RequestError, printable};
use crate::evidence::EvidencePolicy;
use crate::identity::ClientIdentity;
use crate::verification::EvidenceVerifier;
use crate::verifier::Expected;

/// How long to wait and how much to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For name lookup, connection and handshake together.
    pub connect: Duration,
    /// For a request and its whole answer.
    pub request: Duration,
    /// Longest answer, in bytes.
    pub answer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            request: Duration::from_secs(120),
            answer: 64 << 20,
        }
    }
}

/// Opens verified connections to one Coordinator.
#[derive(Clone)]
pub struct Connector {
    address: Address,
    identity: Option<ClientIdentity>,
    limits: Limits,
}

impl Connector {
    /// For the Coordinator at `address`, without a client certificate, within the default limits.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            identity: None,
            limits: Limits::default(),
        }
    }

    /// Presents this identity to the Coordinator.
    #[must_use]
    pub fn with_identity(mut self, identity: ClientIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connects to the Coordinator whose root certificate is pinned: it must present exactly this certificate,
    /// prove its key, and the certificate must be for the host of the address.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn pinned(&self, pin: &Pin) -> Result<Attested, ConnectError> {
        self.open(Expected::PinnedAndNamed(pin.root().clone()), Trust::Pinned)
            .await
    }

    /// Connects and verifies, on this connection, that the Coordinator's evidence is in order, meets the policy and
    /// is about the certificate of this connection and the nonce of the policy.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn by_evidence(
        &self,
        policy: &EvidencePolicy,
        verifier: &EvidenceVerifier,
    ) -> Result<Attested, ConnectError> {
        // Nothing is said on this connection but the request for evidence until the evidence is appraised.
        let mut unverified = self.open(Expected::Nothing, Trust::Unverified).await?;
        let quote = unverified
            .quote(Some(&policy.nonce))
            .await
            .map_err(|error| ConnectError::Request(Box::new(error)))?;
        let chain =
            CertificateChain::from_pem(quote.cert.as_bytes()).map_err(|source| ConnectError::Chain {
                address: self.address.clone(),
                source,
            })?;
        if chain.root() != unverified.root() {
            return Err(ConnectError::OtherCertificate {
                address: self.address.clone(),
            });
        }
        let evidence = quote.quote.as_ref().map(|evidence| evidence.0.as_slice());
        let Some(evidence) = evidence.filter(|evidence| !evidence.is_empty()) else {
            return Err(ConnectError::Simulation {
                address: self.address.clone(),
            });
        };
        let binding = ReportBinding::certificate_and_nonce(unverified.root(), &policy.nonce);
        let claims = verifier
            .verify(evidence, &binding)
            .await
            .map_err(|source| ConnectError::Evidence {
                address: self.address.clone(),
                evidence: RefusedEvidence::new(evidence),
                source: Box::new(source),
            })?;
        let broken: Vec<_> = policy
            .appraise(&claims)
            .into_iter()
            .filter(RuleOutcome::is_broken)
            .collect();
        if !broken.is_empty() {
            return Err(ConnectError::NotExpected {
                address: self.address.clone(),
                evidence: RefusedEvidence::new(evidence),
                broken,
            });
        }
        unverified.trust = verifier.trust();
        unverified.quote = Some(quote);
        Ok(unverified)
    }

    /// Connects without asking who it is. All that is certain: everything is said to the same party, which holds
    /// the key of the certificate it presented. For Coordinators in simulation; whoever uses it should say so
    /// loudly.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn dangerous_unverified(&self) -> Result<Attested, ConnectError> {
        self.open(Expected::Nothing, Trust::Unverified).await
    }

    async fn open(&self, expected: Expected, trust: Trust) -> Result<Attested, ConnectError> {
        let connection = self.connect(expected).await?;
        let root = connection.certificate().clone();
        Ok(Attested {
            connector: self.clone(),
            root,
            trust,
            quote: None,
            connection: Mutex::new(connection),
        })
    }

    async fn connect(&self, expected: Expected) -> Result<Connection, ConnectError> {
        timeout(
            self.limits.connect,
            Connection::open(&self.address, expected, self.identity.as_ref()),
        )
        .await
        .unwrap_or_else(|_| {
            Err(ConnectError::Timeout {
                address: self.address.clone(),
                limit: self.limits.connect,
            })
        })
    }
}

/// Why a Coordinator is believed to be the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It holds the key of the pinned certificate.
    Pinned,
    /// Its evidence was verified, under the roots of the manufacturers.
    Evidence,
    /// Its evidence is that of the software TEE, which proves nothing.
    SimulatedEvidence,
    /// It is not: nothing was verified.
    Unverified,
}

/// A connection to a Coordinator that was verified when it was opened. Only [`Connector`] makes one.
///
/// When the Coordinator has closed the connection between two requests it is opened again, to the same
/// certificate.
pub struct Attested {
    connector: Connector,
    root: CertificateDer<'static>,
    trust: Trust,
    quote: Option<v2::Quote>,
    connection: Mutex<Connection>,
}

impl Attested {
    /// Where the Coordinator is.
    pub fn address(&self) -> &Address {
        &self.connector.address
    }

    /// Why it is believed.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// The certificates and the evidence that were verified, where the Coordinator is believed for its evidence.
    pub fn verified_quote(&self) -> Option<&v2::Quote> {
        self.quote.as_ref()
    }

    /// The certificate of this connection: the Coordinator's root certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// `GET`: for endpoints without a function of their own here. `path_and_query` is as in
    /// [`marblerun_wire::rest::path`].
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn get<T: DeserializeOwned>(&self, path_and_query: &str) -> Result<T, RequestError> {
        self.request(Method::GET, path_and_query, Bytes::new()).await
    }

    /// `POST`, as [`Attested::get`]. The body is wiped after it was sent. Where the answer holds no data, `T` is
    /// `()`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path_and_query: &str,
        body: &B,
    ) -> Result<T, RequestError> {
        Ok(self.post_with_message(path_and_query, body).await?.0)
    }

    /// The same, with what the reply says beside its data.
    pub(crate) async fn post_with_message<B: Serialize, T: DeserializeOwned>(
        &self,
        path_and_query: &str,
        body: &B,
    ) -> Result<(T, String), RequestError> {
        let body = to_secret_body(body).map_err(|error| RequestError::Unwritable {
            request: describe(&Method::POST, path_and_query),
            reason: error.to_string(),
        })?;
        self.request_with_message(Method::POST, path_and_query, Bytes::from_owner(body))
            .await
    }

    /// A request with a body of its own making, which may be empty.
    pub(crate) async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> Result<T, RequestError> {
        Ok(self.request_with_message(method, path_and_query, body).await?.0)
    }

    /// The same, with what the reply says beside its data.
    pub(crate) async fn request_with_message<T: DeserializeOwned>(
        &self,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> Result<(T, String), RequestError> {
        let request = describe(&method, path_and_query);
        let limit = self.connector.limits.request;
        let (status, answer) = timeout(limit, self.exchange(method, path_and_query, body, &request))
            .await
            .unwrap_or_else(|_| {
                Err(RequestError::Timeout {
                    request: request.clone(),
                    limit,
                })
            })?;
        understand(&request, status, &answer)
    }

    async fn exchange(
        &self,
        method: Method,
        path_and_query: &str,
        body: Bytes,
        request: &str,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), RequestError> {
        let mut connection = self.connection.lock().await;
        if !connection.is_open().await {
            *connection = self
                .connector
                .connect(Expected::Pinned(self.root.clone()))
                .await
                .map_err(|error| RequestError::Reconnect(Box::new(error)))?;
        }
        let limit = self.connector.limits.answer;
        match connection.exchange(method, path_and_query, body, limit).await {
            Ok((status, answer)) => Ok((status.as_u16(), answer)),
            Err(ExchangeError::Broken(source)) => Err(RequestError::Broken {
                request: request.to_owned(),
                source,
            }),
            Err(ExchangeError::TooLarge) => Err(RequestError::TooLarge {
                request: request.to_owned(),
                limit,
            }),
            Err(ExchangeError::Unwritable(error)) => Err(RequestError::Unwritable {
                request: request.to_owned(),
                reason: error.to_string(),
            }),
        }
    }
}

/// Method and path; queries stay out of errors.
fn describe(method: &Method, path_and_query: &str) -> String {
    format!(
        "{method} {}",
        path_and_query.split('?').next().unwrap_or(path_and_query)
    )
}

/// The data of a reply, and what it says beside them.
fn understand<T: DeserializeOwned>(
    request: &str,
    status: u16,
    answer: &[u8],
) -> Result<(T, String), RequestError> {
    const METHOD_NOT_ALLOWED: u16 = 405;
    let not_an_answer = |reason: String| RequestError::NotAnAnswer {
        request: request.to_owned(),
        status,
        reason: printable(&reason),
    };
    let reply: Reply<Option<T>> = read_reply(answer).map_err(|error| not_an_answer(error.to_string()))?;
    match (reply.status, status, reply.data) {
        (ReplyStatus::Success, 200, Some(data)) => Ok((data, printable(&reply.message))),
        (ReplyStatus::Success, _, _) => Err(not_an_answer("it claims success".to_owned())),
        (_, METHOD_NOT_ALLOWED, _) => Err(RequestError::NotOffered {
            request: request.to_owned(),
        }),
        (ReplyStatus::Error | ReplyStatus::Fail, _, _) => Err(RequestError::Refused {
            request: request.to_owned(),
            status,
            message: printable(&reply.message),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, answer: &str) -> Result<String, RequestError> {
        Ok(understand("GET /x", status, answer.as_bytes())?.0)
    }

    #[test]
    fn answers() {
        assert_eq!(
            outcome(200, r#"{"status":"success","data":"yes"}"#).unwrap(),
            "yes"
        );
        assert_eq!(
            outcome(500, r#"{"status":"error","data":null,"message":"no\u001b[1m"}"#)
                .unwrap_err()
                .to_string(),
            "the Coordinator refused GET /x with HTTP 500: no\u{fffd}[1m"
        );
        assert_eq!(
            outcome(403, r#"{"status":"fail","data":null}"#)
                .unwrap_err()
                .to_string(),
            "the Coordinator refused GET /x with HTTP 403"
        );
        assert!(matches!(
            outcome(405, r#"{"status":"error","data":null}"#),
            Err(RequestError::NotOffered { .. })
        ));
        for (status, answer) in [
            (201, r#"{"status":"success","data":"yes"}"#),
            (200, r#"{"status":"success","data":7}"#),
            (200, r#"{"status":"success"}"#),
            (502, "<html>"),
            (200, ""),
        ] {
            assert!(
                matches!(outcome(status, answer), Err(RequestError::NotAnAnswer { .. })),
                "{answer}"
            );
        }
        assert!(matches!(
            outcome(200, r#"{"status":"error","data":null,"message":"x"}"#),
            Err(RequestError::Refused { status: 200, .. })
        ));
    }

    #[test]
    fn queries_stay_out_of_errors() {
        assert_eq!(describe(&Method::GET, "/secrets?s=a"), "GET /secrets");
    }
}
