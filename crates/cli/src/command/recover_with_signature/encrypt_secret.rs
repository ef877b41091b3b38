//! `recover-with-signature encrypt-secret`

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use marblerun_client::{encrypt_recovery_secret, is_plain_recovery_secret};
use serde_json::json;

use crate::files;
use crate::output::Output;
use crate::recovery_secret::{RecoveryKeyFlag, read_public, read_secret};

/// Arguments of `encrypt-secret`.
#[derive(Args)]
pub struct Arguments {
    /// File with your recovery secret, base64 undone: encrypted for your recovery key, or plain
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// PEM file with the Coordinator's key, as printed by `public-key`
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    coordinator_pub_key: PathBuf,
    /// File to save the encrypted secret to; it may not be there yet
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: PathBuf,
    /// Not needed for a secret that is plain.
    #[command(flatten)]
    key: RecoveryKeyFlag,
}

/// Decrypts the secret if it is not plain, and encrypts it for the Coordinator.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let plain = if arguments.key.is_given() {
        arguments.key.plain_secret(&arguments.file)?.0
    } else {
        let secret = read_secret(&arguments.file)?;
        if !is_plain_recovery_secret(secret.len()) {
            bail!(
                "{} is no plain recovery secret: name the file of your recovery key with --key to decrypt it",
                arguments.file.display()
            );
        }
        secret
    };
    let path = &arguments.coordinator_pub_key;
    let encrypted = encrypt_recovery_secret(&read_public(path)?, &plain)
        .with_context(|| format!("{} is unusable", path.display()))?;
    files::write_new(&arguments.output, &encrypted)?;
    output.result(
        &format!(
            "Encrypted recovery secret saved to {}",
            arguments.output.display()
        ),
        &json!({"file": arguments.output.to_string_lossy()}),
    )
}
