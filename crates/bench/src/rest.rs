//! `rest`: the client API.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use marblerun_wire::rest::path;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::compare::{self, Target};
use crate::driver::{Load, Operation};
use crate::report::Report;
use crate::tls::{Connector, Identity};

/// Arguments of `rest`.
#[derive(Args, Clone)]
pub struct Arguments {
    /// What to ask for
    #[arg(value_enum)]
    ask: Ask,
    /// Address of a client API, host:port; with two of them, seven runs on each in turns
    #[arg(long = "target", value_name = "ADDR", required = true)]
    targets: Vec<String>,
    /// Process id of each server, to tell CPU time and memory
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    #[command(flatten)]
    pub load: Load,
    /// A new connection for each request; otherwise each worker keeps its own
    #[arg(long)]
    new: bool,
    /// Certificate of the user, PEM; for secrets
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// His key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The secret to read or write
    #[arg(long, default_value = "s0")]
    secret: String,
    /// The manifest to set, for `set-manifest`
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ask {
    /// GET status
    Status,
    /// GET quote
    Quote,
    /// GET manifest
    Manifest,
    /// GET secrets
    GetSecret,
    /// POST secrets: a 128-bit key
    SetSecret,
    /// POST manifest: once
    SetManifest,
}

/// Runs it.
pub async fn run(mut arguments: Arguments) -> Result<()> {
    if arguments.ask == Ask::SetManifest {
        (
            arguments.load.count,
            arguments.load.warm_up,
            arguments.load.concurrency,
        ) = (1, 0, 1);
    }
    let targets = Target::resolve(&arguments.targets, &arguments.pids).await?;
    compare::run(&targets, arguments.json, async |target| {
        measure(&arguments, target).await
    })
    .await
}

async fn measure(arguments: &Arguments, target: &Target) -> Result<Report> {
    let operation = Arc::new(Asking::new(arguments, target)?);
    let connection = if arguments.new { "new" } else { "kept" };
    let what = format!("{:?}, {connection} connection", arguments.ask);
    Report::of(&arguments.load, &operation, target, &what).await
}

struct Asking {
    connector: Connector,
    new: bool,
    method: Method,
    path: String,
    body: Bytes,
}

impl Asking {
    fn new(arguments: &Arguments, target: &Target) -> Result<Self> {
        let identity = match (&arguments.cert, &arguments.key) {
            (Some(certificate), Some(key)) => Some(Identity::read(certificate, key)?),
            _ => None,
        };
        let (method, path, body) = match arguments.ask {
            Ask::Status => (Method::GET, path::V2_STATUS.to_owned(), Bytes::new()),
            Ask::Quote => (Method::GET, path::V2_QUOTE.to_owned(), Bytes::new()),
            Ask::Manifest => (Method::GET, path::V2_MANIFEST.to_owned(), Bytes::new()),
            Ask::GetSecret => {
                let path = format!("{}?s={}", path::V2_SECRETS, arguments.secret);
                (Method::GET, path, Bytes::new())
            }
            Ask::SetSecret => {
                let values = json!({ &arguments.secret: { "Key": "MDEyMzQ1Njc4OWFiY2RlZg==" } });
                let body = json!({"secrets": values}).to_string();
                (Method::POST, path::V2_SECRETS.to_owned(), body.into())
            }
            Ask::SetManifest => {
                let path = arguments
                    .manifest
                    .as_deref()
                    .context("set-manifest needs --manifest")?;
                let body = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                // The first version takes the bytes as they are: nothing of ours is measured with it.
                (Method::POST, path::V1_MANIFEST.to_owned(), body.into())
            }
        };
        Ok(Self {
            connector: Connector::new(target.address, identity.as_ref(), "http/1.1")?,
            new: arguments.new,
            method,
            path,
            body,
        })
    }
}

/// What requests of HTTP/1.1 are sent with.
pub type Sender = SendRequest<Full<Bytes>>;

/// A new connection for requests.
pub async fn connect(connector: &Connector) -> Result<Sender> {
    speak(connector.connect().await.context("no connection")?).await
}

/// Speaks HTTP/1.1 on a connection.
pub async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends one request: the status and the body of the answer.
pub async fn send(
    sender: &mut Sender,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes)> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "coordinator")
        .body(Full::new(body))?;
    // The answer before may have been read before the connection knows that it has ended.
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// The beginning of an answer, for messages.
pub fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body.trim_ascii_end())
        .chars()
        .take(200)
        .collect()
}

impl Operation for Asking {
    type Worker = Option<SendRequest<Full<Bytes>>>;

    async fn worker(&self) -> Result<Self::Worker> {
        if self.new {
            Ok(None)
        } else {
            connect(&self.connector).await.map(Some)
        }
    }

    async fn run(&self, worker: &mut Self::Worker) -> Result<()> {
        let mut of_its_own;
        let sender = match worker {
            Some(sender) => sender,
            None => {
                of_its_own = connect(&self.connector).await?;
                &mut of_its_own
            }
        };
        let (status, body) = send(sender, self.method.clone(), &self.path, self.body.clone()).await?;
        if !status.is_success() {
            bail!(
                "{} {} answered {status}: {}",
                self.method,
                self.path,
                beginning(&body)
            );
        }
        Ok(())
    }
}
