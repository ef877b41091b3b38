//! `activate`: marbles, each with a UUID of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use hyper_util::rt::TokioIo;
use marblerun_attestation::ReportBinding;
use marblerun_attestation::fakes::{SoftwareIssuer, SoftwareProfile};
use marblerun_attestation::issue::Issuer as _;
use marblerun_wire::marble::{ActivationReq, MarbleClient, REPLY_LIMIT};
use tonic::transport::{Channel, Endpoint};

use crate::compare::{self, Target};
use crate::driver::{Load, Operation};
use crate::report::Report;
use crate::tls::{ClientKey, Connector, Identity};

/// Arguments of `activate`.
#[derive(Args, Clone)]
pub struct Arguments {
    /// Address of a Marble API, host:port; with two of them, seven runs on each in turns
    #[arg(long = "target", value_name = "ADDR", required = true)]
    targets: Vec<String>,
    /// Process id of each server, to tell CPU time and memory
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    #[command(flatten)]
    pub load: Load,
    /// Keep each worker's connection; otherwise each activation has a new one, as real marbles have
    #[arg(long)]
    keep: bool,
    /// Marble types to activate, one after the other
    #[arg(long = "type", value_name = "TYPE", default_value = "m0")]
    types: Vec<String>,
    /// Activate the types `m0` to this number less one, instead
    #[arg(long, value_name = "COUNT", conflicts_with = "types", value_parser = clap::value_parser!(u64).range(1..))]
    type_count: Option<u64>,
    /// Key of the client certificate
    #[arg(long, value_enum, default_value_t = ClientKey::P256)]
    key: ClientKey,
    /// Evidence to send
    #[arg(long, value_enum, default_value_t = Evidence::None)]
    quote: Evidence,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What marbles send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Evidence {
    /// Nothing
    None,
    /// A quote of the software TEE
    Sgx,
    /// A quote of the software TEE
    Tdx,
    /// A report of the software TEE
    Snp,
}

/// Runs it.
pub async fn run(arguments: Arguments) -> Result<()> {
    let targets = Target::resolve(&arguments.targets, &arguments.pids).await?;
    compare::run(&targets, arguments.json, async |target| {
        measure(&arguments, target).await
    })
    .await
}

async fn measure(arguments: &Arguments, target: &Target) -> Result<Report> {
    let operation = Arc::new(Activation::new(arguments, target)?);
    let what = format!(
        "activate, {} connection, key {:?}, quote {:?}",
        if arguments.keep { "kept" } else { "new" },
        arguments.key,
        arguments.quote
    );
    Report::of(&arguments.load, &operation, target, &what).await
}

struct Activation {
    newcomer: Newcomer,
    keep: bool,
    types: Types,
    next: std::sync::atomic::AtomicU64,
}

enum Types {
    Named(Vec<String>),
    Numbered(u64),
}

impl Activation {
    fn new(arguments: &Arguments, target: &Target) -> Result<Self> {
        let issuer = match arguments.quote {
            Evidence::None => None,
            Evidence::Sgx => Some("sgx"),
            Evidence::Tdx => Some("tdx"),
            Evidence::Snp => Some("snp"),
        };
        let issuer = issuer.map(issuer_of).transpose()?;
        Ok(Self {
            // One certificate for all: the server's work is the same, and ours is done before.
            newcomer: Newcomer::new(target.address, arguments.key, issuer.as_ref())?,
            keep: arguments.keep,
            types: match arguments.type_count {
                Some(count) => Types::Numbered(count),
                None => Types::Named(arguments.types.clone()),
            },
            next: std::sync::atomic::AtomicU64::new(0),
        })
    }

    fn marble_type(&self) -> Result<String> {
        let next = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match &self.types {
            Types::Numbered(count) => Ok(format!("m{}", next % count)),
            Types::Named(names) => {
                let index = usize::try_from(next)? % names.len().max(1);
                names.get(index).cloned().context("no marble type is given")
            }
        }
    }
}

/// Makes evidence of the software TEE, as if of this one.
pub fn issuer_of(tee: &str) -> Result<SoftwareIssuer> {
    Ok(SoftwareIssuer::development(SoftwareProfile::new(
        tee, None, None,
    )?)?)
}

/// Whoever wants to become a marble: his certificate, evidence for it, and a request for another one.
pub struct Newcomer {
    connector: Connector,
    quote: Vec<u8>,
    csr: Vec<u8>,
}

impl Newcomer {
    /// With fresh keys. Without an issuer he has no evidence.
    pub fn new(address: SocketAddr, key: ClientKey, issuer: Option<&SoftwareIssuer>) -> Result<Self> {
        let identity = Identity::fresh(key)?;
        let quote = match issuer {
            None => Vec::new(),
            Some(issuer) => issuer.quote(&ReportBinding::certificate(&identity.certificate))?,
        };
        let key = rcgen::KeyPair::generate()?;
        let csr = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?
            .serialize_request(&key)?
            .der()
            .to_vec();
        Ok(Self {
            connector: Connector::new(address, Some(&identity), "h2")?,
            quote,
            csr,
        })
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<MarbleClient<Channel>> {
        let connector = self.connector.clone();
        let service = tower::service_fn(move |_: http::Uri| {
            let connector = connector.clone();
            async move { connector.connect().await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://coordinator")
            .connect_with_connector(service)
            .await
            .context("no connection")?;
        Ok(MarbleClient::new(channel).max_decoding_message_size(REPLY_LIMIT))
    }

    /// A request to become a marble of this type, with a fresh UUID.
    pub fn request(&self, marble_type: String) -> Result<ActivationReq> {
        Ok(ActivationReq {
            quote: self.quote.clone(),
            csr: self.csr.clone(),
            marble_type,
            uuid: fresh_uuid()?,
        })
    }
}

impl Operation for Activation {
    type Worker = Option<MarbleClient<Channel>>;

    async fn worker(&self) -> Result<Self::Worker> {
        if self.keep {
            self.newcomer.connect().await.map(Some)
        } else {
            Ok(None)
        }
    }

    async fn run(&self, worker: &mut Self::Worker) -> Result<()> {
        let request = self.newcomer.request(self.marble_type()?)?;
        let mut of_its_own;
        let client = match worker {
            Some(client) => client,
            None => {
                of_its_own = self.newcomer.connect().await?;
                &mut of_its_own
            }
        };
        let reply = client
            .activate(request)
            .await
            .context("the activation was refused")?;
        if reply.into_inner().parameters.is_none() {
            bail!("the server answered without parameters");
        }
        Ok(())
    }
}

fn fresh_uuid() -> Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random bytes"))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}
