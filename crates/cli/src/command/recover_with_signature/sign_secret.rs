//! `recover-with-signature sign-secret`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::files;
use crate::output::Output;
use crate::recovery_secret::RecoveryKeyFlag;

/// Arguments of `sign-secret`.
#[derive(Args)]
pub struct Arguments {
    /// File with your recovery secret, base64 undone: encrypted for your recovery key, or plain
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File to save the signature to; it may not be there yet
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: PathBuf,
    #[command(flatten)]
    key: RecoveryKeyFlag,
}

/// Signs the plain secret.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let (plain, key) = arguments.key.plain_secret(&arguments.file)?;
    files::write_new(&arguments.output, &key.sign(&plain)?)?;
    output.result(
        &format!("Signature saved to {}", arguments.output.display()),
        &json!({"file": arguments.output.to_string_lossy()}),
    )
}
