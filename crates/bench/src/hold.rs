//! `hold`: connections on which nothing happens, to see what they take.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::compare::Target;
use crate::tls::Connector;

/// Arguments of `hold`.
#[derive(Args, Clone)]
pub struct Arguments {
    /// Address of a client API, host:port
    #[arg(long, value_name = "ADDR")]
    target: String,
    /// Connections
    #[arg(short = 'n', long, default_value_t = 1000)]
    count: usize,
}

/// Opens them, says `open`, and holds them until its standard input ends.
pub async fn run(arguments: Arguments) -> Result<()> {
    let targets = Target::resolve(&[arguments.target], &[]).await?;
    let target = targets.first().context("expected a server")?;
    let connector = Connector::new(target.address, None, "http/1.1")?;
    let mut open = Vec::with_capacity(arguments.count);
    for _ in 0..arguments.count {
        open.push(connector.connect().await.context("no connection")?);
    }
    crate::output::print("open")?;
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    drop(open);
    Ok(())
}
