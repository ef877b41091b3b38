//! A service on loopback that speaks as a PCCS and as AMD's KDS do, serves collateral of a software TEE, and can be told
//! to fail in every way a service fails. For tests.

mod documents;
mod server;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marblerun_attestation::claims::SnpProduct;
use marblerun_attestation::fakes::{FakeError, IntelPlatform, SnpPlatform, SoftwareTee};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::{Services, Trust};
use crate::error::Document;
use crate::url::ServiceUrl;

/// How a request is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should be.
    #[default]
    Good,
    /// As it should be, after a while.
    Slow(Duration),
    /// With this status and no document.
    Status(u16),
    /// With a redirect to this address.
    Redirect(String),
    /// With status 200 and a page of HTML.
    Garbage,
    /// With a document that is announced larger than any limit.
    Oversize,
    /// With a document that grows without end, of no announced size.
    Endless,
    /// With headers larger than any limit.
    HugeHeaders,
    /// Never.
    Hang,
    /// With one byte of the document, and then never.
    Stall,
    /// With half of the document; then the connection is closed.
    Cut,
    /// Without the header that holds the issuer chain.
    NoIssuerChain,
    /// With an issuer chain that is no PEM.
    BrokenIssuerChain,
    /// With the issuer chain of somebody else.
    ForeignIssuerChain,
    /// With one bit of the document flipped.
    Flipped,
}

/// Changes a platform of Intel before its collateral is signed.
pub type ChangeIntel = dyn Fn(&mut IntelPlatform) + Send + Sync;
/// Changes a platform of AMD before its collateral is signed.
pub type ChangeAmd = dyn Fn(&mut SnpPlatform) + Send + Sync;

/// A running service. It ends when it is dropped.
pub struct Service {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What tests change while the service runs.
pub(crate) struct Shared {
    tee: SoftwareTee,
    foreign: SoftwareTee,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    behaviour: HashMap<Document, Behaviour>,
    requests: Vec<String>,
    intel: Option<Arc<ChangeIntel>>,
    amd: Option<Arc<ChangeAmd>>,
    forgotten: Vec<SnpProduct>,
}

impl Service {
    /// Starts a service for the software TEE whose keys everybody knows, without TLS.
    ///
    /// # Errors
    /// No port, or the cryptographic library fails.
    pub async fn start() -> io::Result<Self> {
        let tee = SoftwareTee::development().map_err(io::Error::other)?;
        Self::start_with(tee, None).await
    }

    /// Starts a service for a software TEE, with TLS if there is a configuration for it. Has to be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// No port, or the cryptographic library fails.
    pub async fn start_with(tee: SoftwareTee, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            tee,
            foreign: SoftwareTee::generate().map_err(io::Error::other)?,
            state: Mutex::default(),
        });
        Ok(Self {
            address,
            tls: tls.is_some(),
            task: tokio::spawn(server::serve(listener, tls, Arc::clone(&shared))),
            shared,
        })
    }

    /// Where it is. With TLS the host is `localhost`.
    ///
    /// # Panics
    /// Never: it is an address.
    #[expect(clippy::expect_used, reason = "an address of loopback is an address")]
    pub fn url(&self) -> ServiceUrl {
        let port = self.address.port();
        let text = if self.tls {
            format!("https://localhost:{port}")
        } else {
            format!("http://127.0.0.1:{port}")
        };
        text.parse().expect("an address")
    }

    /// A configuration that asks this service for everything.
    pub fn services(&self) -> Services {
        Services {
            pccs: self.url(),
            root_crl: None,
            kds: self.url(),
            trust: Trust::PublicRoots,
            insecure_http: false,
        }
    }

    /// From now on, all documents are served like this.
    pub fn behave(&self, behaviour: &Behaviour) {
        for document in Document::ALL {
            self.behave_for(document, behaviour.clone());
        }
    }

    /// From now on, this document is served like this.
    pub fn behave_for(&self, document: Document, behaviour: Behaviour) {
        self.shared.lock().behaviour.insert(document, behaviour);
    }

    /// From now on, platforms of Intel are changed like this before their collateral is signed.
    pub fn change_intel(&self, change: impl Fn(&mut IntelPlatform) + Send + Sync + 'static) {
        self.shared.lock().intel = Some(Arc::new(change));
    }

    /// From now on, platforms of AMD are changed like this before their collateral is signed.
    pub fn change_amd(&self, change: impl Fn(&mut SnpPlatform) + Send + Sync + 'static) {
        self.shared.lock().amd = Some(Arc::new(change));
    }

    /// From now on, chips of this product line are not known.
    pub fn forget_product(&self, product: SnpProduct) {
        self.shared.lock().forgotten.push(product);
    }

    /// Path and query of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.lock().requests.clone()
    }

    /// How many requests so far had this in path or query.
    pub fn requests_with(&self, part: &str) -> usize {
        let state = self.shared.lock();
        state
            .requests
            .iter()
            .filter(|request| request.contains(part))
            .count()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Document {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::RootCrl,
        Self::PckCrl,
        Self::TcbInfo,
        Self::QeIdentity,
        Self::AmdChain,
        Self::AmdCrl,
        Self::Vcek,
    ];
}

/// Why no document was made.
type Failed = FakeError;
