//! `certificate root|intermediate|chain`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::files;
use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::session::{self, Session, pin_path, read_pin};

/// Which certificate.
#[derive(Subcommand)]
pub enum Command {
    /// Save the root certificate
    Root(Arguments),
    /// Save the intermediate certificate
    Intermediate(Arguments),
    /// Save both, intermediate first
    Chain(Arguments),
}

/// Arguments of all three.
#[derive(Args)]
pub struct Arguments {
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// File to save to [default: marblerunRootCA.crt, marblerunIntermediateCA.crt or marblerunChainCA.crt]
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: Option<PathBuf>,
}

/// Verifies the Coordinator and saves its certificates.
pub fn run(command: &Command, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let (arguments, default) = match command {
        Command::Root(arguments) => (arguments, "marblerunRootCA.crt"),
        Command::Intermediate(arguments) => (arguments, "marblerunIntermediateCA.crt"),
        Command::Chain(arguments) => (arguments, "marblerunChainCA.crt"),
    };
    let chain = session::run(async {
        let session = Session::fresh(flags, &arguments.address).await?;
        let chain = session.chain().await?;
        if !flags.insecure {
            let path = pin_path(flags)?;
            if read_pin(&path)?.root() != chain.root() {
                bail!(
                    "the root certificate of the Coordinator is not the pinned one ({}); if it was set up anew, verify it with `marblerun manifest verify`",
                    path.display()
                );
            }
        }
        Ok(chain)
    })?;
    let pem = match command {
        Command::Root(_) => chain.root_pem(),
        Command::Intermediate(_) => chain.intermediate_pem(),
        Command::Chain(_) => chain.to_pem(),
    };
    let path = arguments.output.clone().unwrap_or_else(|| PathBuf::from(default));
    files::write(&path, pem.as_bytes())?;
    output.result(
        &format!("Certificate saved to {}", path.display()),
        &json!({"file": path.to_string_lossy(), "certificate": pem}),
    )
}
