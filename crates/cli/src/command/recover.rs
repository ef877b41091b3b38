//! `recover`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::recovery_secret::{RecoveryKeyFlag, advise, report};
use crate::session::{self, Session};

/// Arguments of `recover`.
#[derive(Args)]
pub struct Arguments {
    /// File with your recovery secret, base64 undone: encrypted for your recovery key, or plain
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    #[command(flatten)]
    key: RecoveryKeyFlag,
}

/// Verifies the Coordinator, decrypts and signs the secret, hands it in.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let (secret, key) = arguments.key.plain_secret(&arguments.file)?;
    let signature = key.sign(&secret)?;
    let recovered = session::run(async {
        let session = Session::fresh(flags, &arguments.address).await?;
        session
            .coordinator()
            .recover(secret, signature)
            .await
            .map_err(advise)
    })?;
    report(output, &recovered)
}
