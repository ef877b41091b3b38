//! A Coordinator of a few lines, and marbles to run against it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use marblerun_marble::Identity;
use marblerun_marble::identity::IdentityError;
use marblerun_wire::marble::{ActivationReq, ActivationResp, Marble, MarbleServer, Parameters};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Marks every value that must not appear in a log.
pub const SECRET: &str = "s3cr3t";

/// How the Coordinator treats connections.
#[derive(Clone)]
pub struct Server {
    /// Which client certificates it takes.
    pub clients: Arc<dyn ClientCertVerifier>,
    /// Its certificate and key; `None`: new ones.
    pub identity: Option<(CertificateDer<'static>, Vec<u8>)>,
    /// ALPN protocols it offers.
    pub protocols: Vec<Vec<u8>>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            clients: Arc::new(any_client::AnyClient::default()),
            identity: None,
            protocols: vec![b"h2".to_vec()],
        }
    }
}

/// One activation as the Coordinator saw it.
#[derive(Clone)]
pub struct Call {
    pub request: ActivationReq,
    /// TLS client certificate, DER.
    pub certificate: Vec<u8>,
}

type Answer = dyn Fn(usize) -> Result<ActivationResp, Status> + Send + Sync;

pub struct Coordinator {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    connections: Arc<Mutex<usize>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Coordinator {
    /// Answers every activation with these parameters.
    pub fn giving(parameters: Parameters) -> Self {
        Self::answering(move |_| {
            Ok(ActivationResp {
                parameters: Some(parameters.clone()),
            })
        })
    }

    /// Answers the n-th activation, from 1, as `answer` says.
    pub fn answering(
        answer: impl Fn(usize) -> Result<ActivationResp, Status> + Send + Sync + 'static,
    ) -> Self {
        Self::start(Server::default(), Duration::ZERO, answer)
    }

    /// Begins to listen after `delay`; until then connections are refused.
    pub fn start(
        server: Server,
        delay: Duration,
        answer: impl Fn(usize) -> Result<ActivationResp, Status> + Send + Sync + 'static,
    ) -> Self {
        let (calls, connections) = <(Arc<Mutex<Vec<Call>>>, Arc<Mutex<usize>>)>::default();
        let (stop, stopped) = oneshot::channel();
        let (tell_address, address) = std::sync::mpsc::channel();
        let service = Service {
            answer: Arc::new(answer),
            calls: Arc::clone(&calls),
        };
        let counted = Arc::clone(&connections);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
                tell_address.send(socket.local_addr().unwrap()).unwrap();
                let listening = async {
                    tokio::time::sleep(delay).await;
                    serve(socket.listen(16).unwrap(), server, service, counted).await;
                };
                tokio::select! {
                    () = listening => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().unwrap();
        Self {
            address,
            calls,
            connections,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// How many TCP connections were accepted.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

struct Service {
    answer: Arc<Answer>,
    calls: Arc<Mutex<Vec<Call>>>,
}

#[tonic::async_trait]
impl Marble for Service {
    async fn activate(&self, request: Request<ActivationReq>) -> Result<Response<ActivationResp>, Status> {
        let certificate = request.peer_certs().unwrap().first().unwrap().to_vec();
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(Call {
                request: request.into_inner(),
                certificate,
            });
            calls.len()
        };
        (self.answer)(number).map(Response::new)
    }
}

async fn serve(listener: TcpListener, server: Server, service: Service, connections: Arc<Mutex<usize>>) {
    let (certificate, key) = server.identity.unwrap_or_else(|| {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (
            certified.cert.der().clone(),
            certified.signing_key.serialize_der(),
        )
    });
    let mut configuration = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(server.clients)
        .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key).into())
        .unwrap();
    configuration.alpn_protocols = server.protocols;
    let acceptor = TlsAcceptor::from(Arc::new(configuration));

    let (accepted, incoming) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            *connections.lock().unwrap() += 1;
            let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
            tokio::spawn(async move {
                match acceptor.accept(stream).into_fallible().await {
                    Ok(stream) => drop(accepted.send(Ok::<_, std::io::Error>(stream)).await),
                    Err((_, stream)) => {
                        // Closing with unread bytes would reset the connection, and the alert with it.
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        drop(stream);
                    }
                }
            });
        }
    });
    tonic::transport::Server::builder()
        .add_service(MarbleServer::new(service).max_encoding_message_size(usize::MAX))
        .serve_with_incoming(ReceiverStream::new(incoming))
        .await
        .unwrap();
}

pub mod any_client {
    use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
    use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

    /// As the Coordinator does: some certificate, whose key is proven.
    #[derive(Debug)]
    pub struct AnyClient {
        pub schemes: Vec<SignatureScheme>,
        pub algorithms: WebPkiSupportedAlgorithms,
    }

    impl Default for AnyClient {
        fn default() -> Self {
            let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
            Self {
                schemes: algorithms.supported_schemes(),
                algorithms,
            }
        }
    }

    impl ClientCertVerifier for AnyClient {
        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            Ok(ClientCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.schemes.clone()
        }
    }
}

/// `marble-run` for a marble of type `frontend`, that has nothing in its environment but what is needed.
pub fn marble_run(coordinator: SocketAddr, directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marble-run"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("EDG_MARBLE_TYPE", "frontend")
        .env("EDG_MARBLE_COORDINATOR_ADDR", coordinator.to_string())
        .env("EDG_MARBLE_ACTIVATION_TIMEOUT", "5s")
        .current_dir(directory);
    command
}

/// Standard error of a run that must fail with `status`; checks that no secret is in it.
pub fn failing(command: &mut Command, status: i32) -> String {
    let output = command.output().unwrap();
    let log = log_of(&output);
    assert_eq!(output.status.code(), Some(status), "{log}");
    assert!(
        output.stdout.is_empty(),
        "the application must not have run: {output:?}"
    );
    log
}

/// Standard output of a run that must succeed; checks that no secret is in the log.
pub fn succeeding(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let log = log_of(&output);
    assert!(output.status.success(), "{log}");
    String::from_utf8(output.stdout).unwrap()
}

fn log_of(output: &Output) -> String {
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!log.contains(SECRET), "{log}");
    log
}

pub fn parameters(files: &[(&str, &str)], env: &[(&str, &str)], argv: &[&str]) -> Parameters {
    let map = |entries: &[(&str, &str)]| {
        entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect()
    };
    let mut parameters = Parameters::default();
    parameters.files = map(files);
    parameters.env = map(env);
    parameters.argv = argv.iter().map(|argument| (*argument).to_owned()).collect();
    parameters
}

/// The certificates of a deployment (spec/03).
pub struct Deployment {
    root: String,
    root_key: KeyPair,
    intermediate: String,
    marble_root: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Deployment {
    pub fn new() -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root_params = authority("MarbleRun Coordinator");
        let root = root_params.self_signed(&root_key).unwrap().pem();
        let params = authority("MarbleRun Coordinator - Intermediate CA");
        let intermediate = params
            .signed_by(&key, &Issuer::new(root_params, &root_key))
            .unwrap()
            .pem();
        let marble_root = params.self_signed(&key).unwrap().pem();
        Self {
            root,
            root_key,
            intermediate,
            marble_root,
            issuer: Issuer::new(params, key),
        }
    }

    /// The root as TLS server certificate, which is how the Coordinator presents itself on its client API, asking
    /// for a marble certificate.
    pub fn client_api(&self) -> ServerConfig {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.marble_root)).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![certificate(&self.root)],
                PrivatePkcs8KeyDer::from(self.root_key.serialize_der()).into(),
            )
            .unwrap()
    }

    /// The root certificate, PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The Marble root and its key, which is how the Coordinator presents itself on its Marble API.
    pub fn marble_api(&self) -> (CertificateDer<'static>, Vec<u8>) {
        let certificate = CertificateDer::from_pem_slice(self.marble_root.as_bytes()).unwrap();
        (certificate, self.issuer.key().serialize_der())
    }

    /// A marble of this deployment, as its program sees itself.
    pub fn marble(&self, uuid: &str, marble_type: &str, name: &str) -> Identity {
        identity_of(&self.environment(uuid, Some(marble_type), name)).unwrap()
    }

    /// A marble with a certificate that is right in all but its issuer: an authority that the deployment's manifest
    /// defines as a secret, and that a marble was given.
    pub fn impostor(&self, uuid: &str, marble_type: &str, name: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of an application");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.signed_by(&key, &self.issuer).unwrap().pem();
        let mut variables = self.environment_by(&Issuer::new(params, key), uuid, Some(marble_type), name);
        let (leaf, _) = variables[1]
            .1
            .split_at(variables[1].1.find("-----END").unwrap() + 26);
        variables[1].1 = format!("{leaf}{authority}");
        identity_of(&variables).unwrap()
    }

    /// What the Coordinator adds to a marble's environment. Without type: a certificate that is not a marble's.
    pub fn environment(
        &self,
        uuid: &str,
        marble_type: Option<&str>,
        name: &str,
    ) -> Vec<(&'static str, String)> {
        self.environment_by(&self.issuer, uuid, marble_type, name)
    }

    fn environment_by(
        &self,
        issuer: &Issuer<'_, KeyPair>,
        uuid: &str,
        marble_type: Option<&str>,
        name: &str,
    ) -> Vec<(&'static str, String)> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, uuid);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.custom_extensions = marble_type
            .map(|name| CustomExtension::from_oid_content(&[1, 3, 9903, 2, 1], name.as_bytes().to_vec()))
            .into_iter()
            .collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap().pem();
        vec![
            ("MARBLE_PREDEFINED_ROOT_CA", self.marble_root.clone()),
            (
                "MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN",
                format!("{certificate}{}", self.intermediate),
            ),
            ("MARBLE_PREDEFINED_PRIVATE_KEY", key.serialize_pem()),
            ("MARBLE_PREDEFINED_COORDINATOR_ROOT_CA", self.root.clone()),
        ]
    }
}

pub fn identity_of(variables: &[(&'static str, String)]) -> Result<Identity, IdentityError> {
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
    Identity::from_variables(|name| find(name).map(|(_, value)| value.into()))
}
