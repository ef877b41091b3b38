//! `recover-with-signature …`: for holders who cannot reach the Coordinator, or whose key may not be where it is
//! reached from.

mod encrypt_secret;
mod public_key;
mod sign_secret;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::recovery_secret::{advise, is_base64, read_public, read_secret, report};
use crate::session::{self, Session};

/// Arguments of `recover-with-signature`.
#[derive(Args)]
pub struct Arguments {
    /// File with the recovery secret, as made by `encrypt-secret`, or plain
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR", required = true)]
    address: Option<String>,
    /// File with the signature of the plain secret, as made by `sign-secret`
    #[arg(short, long, value_name = "FILE", required = true, allow_hyphen_values = true)]
    signature: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What else is needed for it.
#[derive(Subcommand)]
pub enum Command {
    /// Print or save the key of the Coordinator that recovery secrets may be encrypted for
    PublicKey(public_key::Arguments),
    /// Encrypt a recovery secret for the Coordinator
    EncryptSecret(encrypt_secret::Arguments),
    /// Sign a recovery secret
    SignSecret(sign_secret::Arguments),
}

/// Runs the command, or hands the secret in.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    match &arguments.command {
        Some(Command::PublicKey(arguments)) => return public_key::run(arguments, flags, output),
        Some(Command::EncryptSecret(arguments)) => return encrypt_secret::run(arguments, output),
        Some(Command::SignSecret(arguments)) => return sign_secret::run(arguments, output),
        None => {}
    }
    let (Some(file), Some(address), Some(signature)) =
        (&arguments.file, &arguments.address, &arguments.signature)
    else {
        bail!("expected FILE, ADDR and --signature");
    };
    let secret = read_secret(file)?;
    let signature_path = signature;
    let signature = read_public(signature_path)?;
    for (path, content) in [(file, secret.as_slice()), (signature_path, signature.as_slice())] {
        if is_base64(content) {
            bail!(
                "{} looks like base64: undo that first, for example with `base64 -d`",
                path.display()
            );
        }
    }
    let recovered = session::run(async {
        let session = Session::fresh(flags, address).await?;
        session
            .coordinator()
            .recover(secret, signature)
            .await
            .map_err(advise)
    })?;
    report(output, &recovered)
}
