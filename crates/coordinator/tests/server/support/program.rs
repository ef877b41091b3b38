//! The Coordinator's program, started in a directory of its own, and a marble that talks to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use marblerun_wire::marble::{ActivationReq, MarbleClient, Parameters};
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::{Channel, Endpoint};

use super::{ClientIdentity, ask, client_config, connect_with};

/// A running Coordinator; killed when dropped.
pub struct Program {
    child: Child,
    pub client: SocketAddr,
    pub mesh: SocketAddr,
    log: PathBuf,
}

/// How a Coordinator is started.
pub struct Start<'a> {
    pub directory: &'a Path,
    pub flags: &'a [&'a str],
    pub environment: &'a [(&'a str, &'a str)],
}

/// Names another build of the Coordinator to be tested, such as an optimised one.
pub const OTHER_PROGRAM: &str = "MARBLERUN_COORDINATOR";

impl Start<'_> {
    pub fn command(&self) -> Command {
        let built = || env!("CARGO_BIN_EXE_marblerun-coordinator").into();
        let mut command = Command::new(std::env::var_os(OTHER_PROGRAM).unwrap_or_else(built));
        command
            .env_clear()
            .current_dir(self.directory)
            .args([
                "--simulation",
                "--mesh-addr",
                "127.0.0.1:0",
                "--client-addr",
                "127.0.0.1:0",
            ])
            .args(["--seal-dir", "state", "--ready-file", "ready"])
            .args(self.flags)
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts it and waits until both APIs accept connections.
    pub fn run(&self) -> Program {
        let log = self.directory.join("log");
        let mut file = std::fs::OpenOptions::new();
        let file = file.create(true).append(true).open(&log).unwrap();
        self.run_logging_to(file)
    }

    /// The same with its log going elsewhere.
    pub fn run_logging_to(&self, file: std::fs::File) -> Program {
        let ready = self.directory.join("ready");
        let _ = std::fs::remove_file(&ready);
        let log = self.directory.join("log");
        let mut child = self.command().stderr(file).spawn().unwrap();
        let started = Instant::now();
        loop {
            if let Ok(text) = std::fs::read(&ready) {
                let addresses: serde_json::Value = serde_json::from_slice(&text).unwrap();
                let address = |name: &str| addresses[name].as_str().unwrap().parse().unwrap();
                return Program {
                    child,
                    client: address("client"),
                    mesh: address("mesh"),
                    log,
                };
            }
            let ended = child.try_wait().unwrap();
            let text = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "the Coordinator ended: {ended:?}\n{}", text());
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "the Coordinator is not ready\n{}",
                text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it when it is expected to end at once: its exit status and what it wrote.
    pub fn fail(&self) -> (ExitStatus, String) {
        let mut child = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > Duration::from_secs(30) {
                child.kill().unwrap();
                panic!("the Coordinator was expected to refuse the start");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }
}

/// Starts a Coordinator in `directory`.
pub fn start(directory: &Path, flags: &[&str]) -> Program {
    Start {
        directory,
        flags,
        environment: &[],
    }
    .run()
}

impl Program {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it with `signal` and waits for that.
    pub fn end(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.child.wait().unwrap()
    }

    /// A JSON request to the client API: status and body.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: impl Into<bytes::Bytes>,
    ) -> (u16, serde_json::Value) {
        self.ask_as(None, method, path, body).await
    }

    /// The same with the certificate of a caller.
    pub async fn ask_as(
        &self,
        identity: impl Into<Option<&ClientIdentity>>,
        method: &str,
        path: &str,
        body: impl Into<bytes::Bytes>,
    ) -> (u16, serde_json::Value) {
        let (status, headers, body) = ask(self.client, identity.into(), method, path, body).await;
        assert_eq!(headers.get("content-type").unwrap(), "application/json");
        (
            status.as_u16(),
            serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}")),
        )
    }

    /// Sets a manifest; its recovery secrets.
    pub async fn set_manifest(&self, manifest: &serde_json::Value) -> serde_json::Value {
        let (status, reply) = self.ask("POST", "/manifest", manifest.to_string()).await;
        assert_eq!(status, 200, "{reply}");
        reply["data"]["RecoverySecrets"].clone()
    }

    /// A connection of a marble with a certificate of its own.
    pub async fn channel(&self) -> Channel {
        self.channel_as(&ClientIdentity::self_signed()).await
    }

    /// A connection of a marble with this certificate.
    pub async fn channel_as(&self, identity: &ClientIdentity) -> Channel {
        let config = Arc::new(client_config(Some(identity), &["h2"]));
        let mesh = self.mesh;
        let connector = tower::service_fn(move |_: http::Uri| {
            let config = Arc::clone(&config);
            async move { connect_with(mesh, config).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
            .unwrap()
    }

    /// A marble that would take replies of any size.
    pub async fn marble(&self) -> MarbleClient<Channel> {
        MarbleClient::new(self.channel().await)
            .max_decoding_message_size(16 << 20)
            .max_encoding_message_size(16 << 20)
    }

    /// Activates a marble of a type under a UUID.
    pub async fn activate(&self, marble_type: &str, uuid: &str) -> Result<Parameters, tonic::Status> {
        self.activate_with(marble_type, uuid, |_| Vec::new()).await
    }

    /// Activates a marble with evidence that is made for its certificate, DER.
    pub async fn activate_with(
        &self,
        marble_type: &str,
        uuid: &str,
        evidence: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Parameters, tonic::Status> {
        let identity = ClientIdentity::self_signed();
        let request = ActivationReq {
            quote: evidence(&identity.certificate),
            csr: csr(),
            marble_type: marble_type.to_owned(),
            uuid: uuid.to_owned(),
        };
        let channel = self.channel_as(&identity).await;
        let mut marble = MarbleClient::new(channel).max_decoding_message_size(16 << 20);
        let reply = marble.activate(request).await?;
        Ok(reply.into_inner().parameters.unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate request of a marble.
pub fn csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["marble.example".to_owned()];
    rcgen::CertificateParams::new(names)
        .unwrap()
        .serialize_request(&key)
        .unwrap()
        .der()
        .to_vec()
}

/// Random UUIDs (version 4).
pub fn uuid() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    let hex = hex::encode(bytes);
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

/// A manifest with one marble of each kind the tests need: `plain` without a budget, `few` with one of 10, `unset` that needs a secret nobody uploaded.
pub fn manifest() -> serde_json::Value {
    serde_json::json!({
        "Packages": {"any": {"UniqueID": "00".repeat(32)}},
        "Marbles": {
            "plain": {"Package": "any", "Parameters": {
                "Env": {"SHARED": "{{ hex .Secrets.shared }}", "OWN": "{{ hex .Secrets.own }}"},
                "Files": {"/seal": "{{ hex .MarbleRun.SealKey }}", "/cert": "{{ pem .Secrets.cert.Private }}"},
                "Argv": ["./plain", "serve"],
            }},
            "few": {"Package": "any", "MaxActivations": 10},
            "unset": {"Package": "any", "Parameters": {"Env": {"KEY": "{{ hex .Secrets.uploaded }}"}}},
        },
        "Secrets": {
            "shared": {"Type": "symmetric-key", "Size": 128, "Shared": true},
            "own": {"Type": "symmetric-key", "Size": 256},
            "cert": {"Type": "cert-ecdsa", "Size": 256, "Shared": true},
            "uploaded": {"Type": "symmetric-key", "Size": 128, "UserDefined": true},
        },
    })
}
