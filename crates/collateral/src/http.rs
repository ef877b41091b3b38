//! One bounded GET at a time: a connection of its own, a deadline, a limit on every part of the answer, no redirects.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::Clock;
use crate::config::{Limits, Services, StartError, Trust};
use crate::error::{CollateralError, Document, ServiceName};
use crate::url::ServiceUrl;

/// Longest header section that is taken, in bytes.
const MAXIMUM_HEADERS: usize = 64 * 1024;

/// Asks services.
pub(crate) struct Fetcher {
    tls: TlsConnector,
    timeout: Duration,
    limit: usize,
}

/// What a service answered, with status 200.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) service: ServiceName,
    pub(crate) document: Document,
    pub(crate) base: &'a ServiceUrl,
    /// Path and query behind that of the base.
    pub(crate) path: &'a str,
}

impl Fetcher {
    /// For these services.
    pub(crate) fn new(services: &Services, limits: &Limits, clock: Clock) -> Result<Self, StartError> {
        let urls = [
            Some(&services.pccs),
            services.root_crl.as_ref(),
            Some(&services.kds),
        ];
        for url in urls.into_iter().flatten() {
            if !url.is_tls() && !url.is_loopback() && !services.insecure_http {
                return Err(StartError::InsecureUrl { url: url.to_string() });
            }
        }
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls(&services.trust, clock)?)),
            timeout: limits.timeout,
            limit: limits.document,
        })
    }

    /// The document.
    pub(crate) async fn get(&self, asked: Asked<'_>) -> Result<Answer, CollateralError> {
        let Asked {
            service, document, ..
        } = asked;
        match tokio::time::timeout(self.timeout, self.exchange(asked)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CollateralError::TimedOut {
                service,
                document,
                after: self.timeout,
            }),
        }
    }

    async fn exchange(&self, asked: Asked<'_>) -> Result<Answer, CollateralError> {
        let Asked { service, base, .. } = asked;
        let tcp = connect(service, base).await?;
        if !base.is_tls() {
            return self.request(asked, tcp).await;
        }
        let failed = |why: String| CollateralError::Tls {
            service,
            address: base.authority(),
            why,
        };
        let name = ServerName::try_from(base.host().to_owned()).map_err(|error| failed(error.to_string()))?;
        let stream = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(|error| failed(error.to_string()))?;
        self.request(asked, stream).await
    }

    async fn request<S>(&self, asked: Asked<'_>, stream: S) -> Result<Answer, CollateralError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Asked {
            service,
            document,
            base,
            path,
        } = asked;
        let broken = |why: String| CollateralError::Broken {
            service,
            document,
            why,
        };
        let request = Request::get(base.path_and_query(path))
            .header(HOST, base.authority())
            .header(USER_AGENT, HeaderValue::from_static("marblerun"))
            .header(CONNECTION, HeaderValue::from_static("close"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(error.to_string()))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_header_size(MAXIMUM_HEADERS)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.to_string()))?;
        let answer = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| broken(error.to_string()))?;
            let status = response.status();
            match status.as_u16() {
                200 => {}
                404 => return Err(CollateralError::NotKnown { service, document }),
                300..=399 => {
                    return Err(CollateralError::Redirect {
                        service,
                        document,
                        status: status.as_u16(),
                    });
                }
                other => {
                    return Err(CollateralError::Status {
                        service,
                        document,
                        status: other,
                    });
                }
            }
            let (parts, body) = response.into_parts();
            Ok(Answer {
                body: self.read(asked, &parts.headers, body).await?,
                headers: parts.headers,
            })
        };
        // Both at once: the connection is driven as long as its answer is waited for, and ends with it.
        tokio::pin!(answer);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(broken(error.to_string())),
            },
        }
    }

    async fn read(
        &self,
        asked: Asked<'_>,
        headers: &HeaderMap,
        mut body: Incoming,
    ) -> Result<Vec<u8>, CollateralError> {
        let Asked {
            service, document, ..
        } = asked;
        let too_large = || CollateralError::TooLarge {
            service,
            document,
            limit: self.limit,
        };
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.limit) {
            return Err(too_large());
        }
        let mut content = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| CollateralError::Broken {
                service,
                document,
                why: error.to_string(),
            })?;
            if let Ok(data) = frame.into_data() {
                if content.len().saturating_add(data.len()) > self.limit {
                    return Err(too_large());
                }
                content.extend_from_slice(&data);
            }
        }
        Ok(content)
    }
}

/// Connects to the first address that answers. `localhost` is this machine whatever a resolver says.
async fn connect(service: ServiceName, base: &ServiceUrl) -> Result<TcpStream, CollateralError> {
    let failed = |why: String| CollateralError::Unreachable {
        service,
        address: base.authority(),
        why,
    };
    let addresses: Vec<SocketAddr> = lookup_host((base.host(), base.port()))
        .await
        .map_err(|error| failed(error.to_string()))?
        .filter(|address| !base.is_loopback() || address.ip().is_loopback())
        .collect();
    if addresses.is_empty() {
        return Err(failed("the name has no usable address".to_owned()));
    }
    let tcp = TcpStream::connect(addresses.as_slice())
        .await
        .map_err(|error| failed(error.to_string()))?;
    // A lost option costs latency, nothing else.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

/// TLS 1.3 alone: rustls is built without anything older.
fn tls(trust: &Trust, clock: Clock) -> Result<ClientConfig, StartError> {
    let failed = |why: String| StartError::Trust { why };
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::PublicRoots => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Trust::Only(certificates) => {
            for certificate in certificates {
                roots
                    .add(certificate.clone())
                    .map_err(|error| failed(error.to_string()))?;
            }
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Time(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| failed(error.to_string()))?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The caller's clock, as everywhere here.
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs((self.0)().0)))
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Time")
    }
}
