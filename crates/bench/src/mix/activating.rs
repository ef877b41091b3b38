//! Marbles that come: each a newcomer with fresh keys, fresh evidence and a fresh UUID, or one that keeps its connection
//! and activates with a fresh UUID again and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use marblerun_attestation::fakes::SoftwareIssuer;
use marblerun_wire::marble::MarbleClient;
use tonic::Code;
use tonic::transport::Channel;

use super::deployment::{COUNTED, FOREIGN, ONCE, PLAIN_TYPES};
use super::pace::{Pace, Part};
use crate::activate::{Newcomer, issuer_of};
use crate::tls::ClientKey;

/// Adds activations of all kinds.
pub fn add(pace: &mut Pace, address: SocketAddr) -> Result<()> {
    let issuer = |tee| issuer_of(tee).map(|issuer| Some(Arc::new(issuer)));
    let sgx = Activating {
        address,
        issuer: issuer("sgx")?,
        key: ClientKey::P256,
        types: (0..PLAIN_TYPES).map(|number| format!("plain{number}")).collect(),
        keep: false,
        expected: Code::Ok,
        next: AtomicU64::new(0),
    };
    let of = |marble_type: &str, expected| Activating {
        issuer: sgx.issuer.clone(),
        types: vec![marble_type.to_owned()],
        expected,
        next: AtomicU64::new(0),
        ..sgx
    };
    let tdx = Activating {
        issuer: issuer("tdx")?,
        ..of("tdx", Code::Ok)
    };
    let snp = Activating {
        issuer: issuer("snp")?,
        ..of("snp", Code::Ok)
    };
    let of_old_runtime = Activating {
        key: ClientKey::P384,
        ..of("plain0", Code::Ok)
    };
    let without_evidence = Activating {
        issuer: None,
        ..of("plain0", Code::PermissionDenied)
    };
    let kept = Activating {
        types: sgx.types.clone(),
        keep: true,
        ..of("", Code::Ok)
    };
    pace.add("activation, P-384", 5.0, of_old_runtime);
    pace.add("activation, counted", 10.0, of(COUNTED, Code::Ok));
    pace.add("activation, budget spent", 5.0, of(ONCE, Code::PermissionDenied));
    pace.add("activation, foreign", 5.0, of(FOREIGN, Code::PermissionDenied));
    pace.add("activation, unknown", 2.0, of("unknown", Code::PermissionDenied));
    pace.add("activation, no evidence", 5.0, without_evidence);
    pace.add("activation, TDX", 5.0, tdx);
    pace.add("activation, SNP", 5.0, snp);
    pace.add("activation, kept", 60.0, kept);
    pace.add("activation", 60.0, sgx);
    Ok(())
}

/// Activates a marble once.
pub async fn activate(address: SocketAddr, marble_type: &str) -> Result<()> {
    let once = Activating {
        address,
        issuer: Some(Arc::new(issuer_of("sgx")?)),
        key: ClientKey::P256,
        types: vec![marble_type.to_owned()],
        keep: false,
        expected: Code::Ok,
        next: AtomicU64::new(0),
    };
    once.run(&mut None).await.map(|_| ())
}

struct Activating {
    address: SocketAddr,
    /// `None`: without evidence.
    issuer: Option<Arc<SoftwareIssuer>>,
    key: ClientKey,
    /// One after the other.
    types: Vec<String>,
    keep: bool,
    expected: Code,
    next: AtomicU64,
}

impl Part for Activating {
    type Kept = Option<(Newcomer, MarbleClient<Channel>)>;

    async fn run(&self, kept: &mut Self::Kept) -> Result<Duration> {
        let index = self.next.fetch_add(1, Ordering::Relaxed) as usize % self.types.len().max(1);
        let marble_type = self.types.get(index).cloned().context("no marble type")?;
        let newcomer = match kept {
            Some(_) => None,
            None => Some(Newcomer::new(self.address, self.key, self.issuer.as_deref())?),
        };
        let began = Instant::now();
        if let Some(newcomer) = newcomer {
            let client = newcomer.connect().await?;
            *kept = Some((newcomer, client));
        }
        let (newcomer, client) = kept.as_mut().context("no connection")?;
        let request = newcomer.request(marble_type)?;
        let answer = client.activate(request).await;
        let took = began.elapsed();
        if !self.keep {
            *kept = None;
        }
        let (code, message) = match &answer {
            Ok(reply) if reply.get_ref().parameters.is_none() => bail!("the reply has no parameters"),
            Ok(_) => (Code::Ok, ""),
            Err(status) => (status.code(), status.message()),
        };
        if code != self.expected {
            bail!("answered {code:?} ({message}), expected {:?}", self.expected);
        }
        Ok(took)
    }
}
