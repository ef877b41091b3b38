//! `mix`: everything that a Coordinator meets, steadily: marbles that come, users who read, write and update, requests
//! that are refused, peers that are slow, monitoring. Each kind has a rate of its own, and one answer that is expected.
//!
//! Prints one JSON object a second, [`Line`].

mod activating;
mod asking;
mod deployment;
mod pace;
mod slow;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use crate::compare::Target;
use crate::tls::Identity;
use pace::{Book, Pace, Second};

/// Arguments of `mix`.
#[derive(Args, Clone)]
pub struct Arguments {
    /// Address of the client API, host:port; the Coordinator has no manifest yet
    #[arg(long, value_name = "ADDR")]
    client: String,
    /// Address of the Marble API
    #[arg(long, value_name = "ADDR")]
    mesh: String,
    /// Address of its metrics
    #[arg(long, value_name = "ADDR")]
    metrics: String,
    /// Certificate of a user whom the manifest will name, PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// His key, PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Times the usual rate, which is about 160 activations and 100 other requests a second
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Only the kinds of load whose names contain this; with several, one of them
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Be at fault, so that who watches can see whether he notices: keep connections, expect a wrong answer
    #[arg(long)]
    planted: bool,
}

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| (0.01..=100.0).contains(scale));
    scale.ok_or_else(|| "expected 0.01 to 100".to_owned())
}

/// What one second came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// Number of the second, from 1.
    second: u64,
    /// Each kind that something was finished of.
    parts: BTreeMap<&'static str, Second>,
    /// Unexpected answers so far.
    failures: u64,
    /// What the first of them were.
    failed: Vec<String>,
    /// Bytes of `/metrics`, when it was last read.
    metrics_bytes: u64,
    /// Bytes of the update log, when it was last read.
    log_bytes: u64,
}

/// Sets the manifest, puts on the load, tells.
pub async fn run(arguments: Arguments) -> Result<()> {
    let [client, mesh, metrics] = &[&arguments.client, &arguments.mesh, &arguments.metrics];
    let mut addresses = Vec::new();
    for name in [client, mesh, metrics] {
        let targets = Target::resolve(&[(*name).clone()], &[]).await?;
        addresses.push(targets.first().context("expected a server")?.address);
    }
    let [client, mesh, metrics] = addresses[..] else {
        anyhow::bail!("expected three servers");
    };
    let user = Identity::read(&arguments.cert, &arguments.key)?;
    let deployment = deployment::Deployment::new(std::fs::read_to_string(&arguments.cert)?);
    deployment.begin(client, mesh, &user).await?;

    let seen = Seen::default();
    let book = Arc::new(Book::default());
    let mut pace = Pace::new(&book, arguments.scale, arguments.only);
    activating::add(&mut pace, mesh)?;
    asking::add(&mut pace, client, &user, deployment, &seen)?;
    asking::add_monitoring(&mut pace, metrics, &seen);
    slow::add(&mut pace, client, mesh)?;
    if arguments.planted {
        asking::add_planted(&mut pace, client)?;
        slow::add_planted(&mut pace, client)?;
    }
    let told = tell(&book, &seen, arguments.seconds).await;
    pace.end().await;
    told
}

/// Prints a line a second, and shows on a terminal how far it has come.
async fn tell(book: &Book, seen: &Seen, seconds: u64) -> Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.tick().await;
    for second in 1..=seconds {
        clock.tick().await;
        let parts = book.turn();
        let (failures, failed) = book.failures();
        if terminal {
            let done: u64 = parts.values().map(|part| part.done).sum();
            // Nobody is left to tell when standard error is gone.
            let _ = write!(
                std::io::stderr(),
                "\r{second} of {seconds} s, {done} requests a second, {failures} unexpected answers\x1b[K"
            );
        }
        let line = Line {
            second,
            parts,
            failures,
            failed,
            metrics_bytes: seen.metrics_bytes.load(Ordering::Relaxed),
            log_bytes: seen.log_bytes.load(Ordering::Relaxed),
        };
        crate::output::print(&serde_json::to_string(&line)?)?;
        std::io::stdout().flush()?;
    }
    if terminal {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    Ok(())
}

/// Sizes of answers, as they were last seen.
#[derive(Default, Clone)]
struct Seen {
    metrics_bytes: Arc<AtomicU64>,
    log_bytes: Arc<AtomicU64>,
}
