//! Asking the Coordinator to be activated, until it answers.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use marblerun_wire::is_hidden;
use marblerun_wire::marble::{ActivationReq, MarbleClient, Parameters, REPLY_LIMIT, REQUEST_LIMIT};
use rustls::{AlertDescription, ClientConfig, Error as TlsError};
use rustls_pki_types::CertificateDer;
use tokio::sync::Mutex;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::connection::{self, Alert, ConnectError, Connection};
use super::credentials::Credentials;
use super::settings::Settings;
use crate::address::CoordinatorAddress;

/// Why the marble was not activated.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The time for attempts is over: it was not reached, or said each time that it cannot answer at present.
    #[error(
        "the Coordinator at {address} did not activate this marble in {attempts} attempts within {} s \
         (EDG_MARBLE_ACTIVATION_TIMEOUT), last: {last}",
        timeout.as_secs_f64()
    )]
    Unreachable {
        /// Where.
        address: CoordinatorAddress,
        /// How many attempts were made.
        attempts: u32,
        /// The time given.
        timeout: Duration,
        /// What the last attempt met.
        last: String,
    },
    /// The Coordinator ended the TLS handshake with an alert.
    #[error("the Coordinator at {address} refused the TLS handshake with alert {alert:?}{}", alert_hint(*alert))]
    HandshakeRefused {
        /// Where.
        address: CoordinatorAddress,
        /// Its reason.
        alert: AlertDescription,
    },
    /// Whoever listens there speaks something else than the Marble API.
    #[error("{address} is not the Marble API of a Coordinator: expected TLS 1.3 and HTTP/2, found: {found}")]
    NotMarbleApi {
        /// Where.
        address: CoordinatorAddress,
        /// What the handshake failed with.
        found: String,
    },
    /// The Coordinator refuses.
    #[error("the Coordinator at {address} refused the activation: {code:?}: {message}")]
    Refused {
        /// Where.
        address: CoordinatorAddress,
        /// gRPC status; what each means is in spec/04, "Activation".
        code: Code,
        /// Its reason, on one line and not above 4096 characters.
        message: String,
    },
    /// It took the request and did not answer.
    #[error("the Coordinator at {address} did not answer within {} s", waited.as_secs_f64())]
    NoAnswer {
        /// Where.
        address: CoordinatorAddress,
        /// How long was waited.
        waited: Duration,
    },
    /// An answer without parameters.
    #[error("the Coordinator at {address} gave no parameters")]
    NoParameters {
        /// Where.
        address: CoordinatorAddress,
    },
    /// TLS, or the runtime for network operations, cannot be set up.
    #[error("cannot set up {what}: {source}")]
    SetUp {
        /// What.
        what: &'static str,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What the Coordinator answered, and who it was.
pub(super) struct Activated {
    /// The parameters.
    pub(super) parameters: Parameters,
    /// Whose key the server has proven to hold in the handshake the answer came through.
    pub(super) server_certificate: CertificateDer<'static>,
}

/// Activates the marble. Blocks.
///
/// Attempts are begun until the activation timeout is over, at least one is made. An answer is waited for longer
/// than that if need be, because it may have been counted against the marble's activation budget already.
pub(super) fn activate(
    settings: &Settings,
    credentials: Credentials,
    request: &ActivationReq,
) -> Result<Activated, ActivationError> {
    let set_up = |what| move |source: Box<dyn Error + Send + Sync>| ActivationError::SetUp { what, source };
    let (certificate, key) = credentials.into_certificate_and_key();
    let configuration =
        connection::client_configuration(certificate, key).map_err(|error| set_up("TLS")(error.into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| set_up("network operations")(error.into()))?;
    let attempts = Attempts {
        settings,
        configuration: Arc::new(configuration),
        request,
        least_wait: LEAST_WAIT_FOR_ANSWER,
    };
    let outcome = runtime.block_on(attempts.until_answered());
    // Does not wait for a name that is still being looked up.
    runtime.shutdown_background();
    outcome
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
const LONGEST_GOODBYE: Duration = Duration::from_millis(500);
const LEAST_WAIT_FOR_ANSWER: Duration = Duration::from_secs(30);
const LONGEST_MESSAGE: usize = 4096;

/// One attempt's end.
enum Failure {
    /// Worth another attempt; says what happened.
    Passing(String),
    /// Final.
    Final(ActivationError),
}

/// What every attempt takes.
struct Attempts<'a> {
    settings: &'a Settings,
    configuration: Arc<ClientConfig>,
    request: &'a ActivationReq,
    /// How long an answer is waited for at least.
    least_wait: Duration,
}

impl Attempts<'_> {
    async fn until_answered(&self) -> Result<Activated, ActivationError> {
        let address = &self.settings.coordinator;
        let timeout = self.settings.activation_timeout;
        let begin = Instant::now();
        let left = || timeout.saturating_sub(begin.elapsed());
        let mut pause = FIRST_PAUSE;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let last = match self.attempt(left()).await {
                Ok(activated) => return Ok(activated),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(last)) => last,
            };
            let left = left();
            if left.is_zero() {
                return Err(ActivationError::Unreachable {
                    address: address.clone(),
                    attempts,
                    timeout,
                    last,
                });
            }
            tracing::warn!(coordinator = %address, attempts, reason = last, "the Coordinator is not available yet");
            // The last attempt is made at the very end of the time.
            tokio::time::sleep(with_jitter(pause).min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, left: Duration) -> Result<Activated, Failure> {
        let address = &self.settings.coordinator;
        let connect_time = left.clamp(Duration::from_secs(1), LONGEST_CONNECT);
        let connecting = connection::connect(Arc::clone(&self.configuration), address);
        let mut connection = match tokio::time::timeout(connect_time, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(connect_failure(address, error)),
            Err(_) => {
                let seconds = connect_time.as_secs_f64();
                return Err(Failure::Passing(format!("no connection within {seconds} s")));
            }
        };
        let (alert, closed) = (connection.alert(), connection.closed());
        let server_certificate = connection.server_certificate();

        let waited = left.max(self.least_wait);
        let answer = tokio::time::timeout(waited, async {
            let channel = channel(address, connection).await?;
            MarbleClient::new(channel)
                .max_encoding_message_size(REQUEST_LIMIT)
                .max_decoding_message_size(REPLY_LIMIT)
                .activate(self.request.clone())
                .await
        })
        .await;
        // A connection that is cut off looks like a failure in the Coordinator's log.
        drop(tokio::time::timeout(LONGEST_GOODBYE, closed).await);
        match answer {
            Ok(Ok(answer)) => match answer.into_inner().parameters {
                Some(parameters) => Ok(Activated {
                    parameters,
                    server_certificate,
                }),
                None => Err(Failure::Final(ActivationError::NoParameters {
                    address: address.clone(),
                })),
            },
            Ok(Err(status)) => Err(call_failure(address, &alert, &status)),
            Err(_) => Err(Failure::Final(ActivationError::NoAnswer {
                address: address.clone(),
                waited,
            })),
        }
    }
}

fn connect_failure(address: &CoordinatorAddress, error: ConnectError) -> Failure {
    let address = address.clone();
    match error {
        ConnectError::Unreachable(error) => Failure::Passing(error.to_string()),
        ConnectError::Refused(TlsError::AlertReceived(alert)) => {
            Failure::Final(ActivationError::HandshakeRefused { address, alert })
        }
        error @ (ConnectError::Refused(_) | ConnectError::NoHttp2) => {
            Failure::Final(ActivationError::NotMarbleApi {
                address,
                found: error.to_string(),
            })
        }
    }
}

fn call_failure(address: &CoordinatorAddress, alert: &Alert, status: &Status) -> Failure {
    if let Some(alert) = alert.get() {
        return Failure::Final(ActivationError::HandshakeRefused {
            address: address.clone(),
            alert,
        });
    }
    // A status with a source was made on this side, when the connection broke; a decoding failure has none.
    let message = presentable(status.message());
    if status.source().is_some() {
        return Failure::Passing(format!("the connection broke: {}", innermost(status)));
    }
    match status.code() {
        Code::Unavailable => Failure::Passing(format!("Unavailable: {message}")),
        code => Failure::Final(ActivationError::Refused {
            address: address.clone(),
            code,
            message,
        }),
    }
}

/// A gRPC channel over the one connection there is. It does not reconnect: a connection is an attempt.
async fn channel(address: &CoordinatorAddress, connection: Connection) -> Result<Channel, Status> {
    let uri = |scheme: &str| format!("{scheme}://{address}").parse::<Uri>();
    // The library wants to see http when TLS is not its own affair; the server is to see what is true.
    let (Ok(plain), Ok(origin)) = (uri("http"), uri("https")) else {
        return Err(Status::invalid_argument(format!("{address} does not fit a URI")));
    };
    let connection = Arc::new(Mutex::new(Some(connection)));
    let connector = tower::service_fn(move |_: Uri| -> Connecting {
        let connection = Arc::clone(&connection);
        Box::pin(async move {
            let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection is gone");
            connection.lock().await.take().map(TokioIo::new).ok_or_else(gone)
        })
    });
    Endpoint::from(plain)
        .origin(origin)
        .connect_with_connector(connector)
        .await
        .map_err(|error| Status::from_error(Box::new(error)))
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Connection>>> + Send>>;

/// Between three quarters and five quarters: marbles that were started together do not come back together.
fn with_jitter(pause: Duration) -> Duration {
    let mut random = [u8::MAX / 2];
    // Without randomness all pauses are equal, which does no harm.
    let _all_equal = aws_lc_rs::rand::fill(&mut random);
    let [random] = random;
    pause * 3 / 4 + pause * u32::from(random) / (2 * u32::from(u8::MAX))
}

/// What an unverified server says, fit for a log line.
fn presentable(message: &str) -> String {
    message
        .chars()
        .take(LONGEST_MESSAGE)
        .map(|c| if is_hidden(c) { ' ' } else { c })
        .collect()
}

fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    presentable(&innermost.to_string())
}

fn alert_hint(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => ": it requires a client certificate and saw none",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => ": it does not accept the client certificate of a marble",
        AlertDescription::ProtocolVersion => ": it does not speak TLS 1.3",
        AlertDescription::NoApplicationProtocol => ": it does not speak HTTP/2",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivatePkcs8KeyDer;

    use super::*;

    #[test]
    fn pauses_vary_within_bounds() {
        let pause = Duration::from_secs(4);
        let pauses: Vec<Duration> = (0..100).map(|_| with_jitter(pause)).collect();
        assert!(
            pauses.iter().all(|pause| (3..=5).contains(&pause.as_secs())),
            "{pauses:?}"
        );
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }

    #[test]
    fn messages_of_strangers_are_tamed() {
        assert_eq!(presentable("a\nb\x1b[31mc"), "a b [31mc");
        assert_eq!(presentable(&"x".repeat(10_000)).len(), LONGEST_MESSAGE);
    }

    /// A server that shakes hands and then says nothing.
    async fn silent_server() -> (u16, tokio::task::JoinHandle<()>) {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let mut configuration = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
        configuration.alpn_protocols = vec![b"h2".to_vec()];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let _open = tokio_rustls::TlsAcceptor::from(Arc::new(configuration))
                .accept(stream)
                .await
                .unwrap();
            std::future::pending::<()>().await;
        });
        (port, server)
    }

    #[tokio::test]
    async fn an_answer_is_not_waited_for_for_ever_and_not_asked_for_twice() {
        let (port, server) = silent_server().await;
        let settings = Settings::read(|name| match name {
            "EDG_MARBLE_TYPE" => Some("type".into()),
            "EDG_MARBLE_COORDINATOR_ADDR" => Some(format!("127.0.0.1:{port}").into()),
            "EDG_MARBLE_ACTIVATION_TIMEOUT" => Some("0".into()),
            _ => None,
        })
        .unwrap();
        let (certificate, key) = Credentials::new(&settings.names)
            .unwrap()
            .into_certificate_and_key();
        let attempts = Attempts {
            settings: &settings,
            configuration: Arc::new(connection::client_configuration(certificate, key).unwrap()),
            request: &ActivationReq::default(),
            least_wait: Duration::from_millis(200),
        };
        let error = attempts.until_answered().await.map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the Coordinator at 127.0.0.1:{port} did not answer within 0.2 s")
        );
        server.abort();
    }
}
