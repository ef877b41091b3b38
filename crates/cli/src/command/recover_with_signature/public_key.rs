//! `recover-with-signature public-key`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use marblerun_core::pki::pem;
use serde_json::json;

use crate::files;
use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::recovery_secret::advise;
use crate::session::{self, Session};

/// Arguments of `public-key`.
#[derive(Args)]
pub struct Arguments {
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// File to save the key to, instead of printing it
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: Option<PathBuf>,
}

/// Verifies the Coordinator and prints or saves its ephemeral key.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let key = session::run(async {
        let session = Session::fresh(flags, &arguments.address).await?;
        session.coordinator().recovery_public_key().await.map_err(advise)
    })?;
    if key.algorithm != "RSA" {
        bail!(
            "the Coordinator's key is of the kind {:?}, expected RSA",
            key.algorithm
        );
    }
    let pem = pem::encode(pem::PUBLIC_KEY, key.ephemeral_public_key.as_ref());
    match &arguments.output {
        Some(path) => {
            files::write(path, pem.as_bytes())?;
            output.result(
                &format!("Public key saved to {}", path.display()),
                &json!({"file": path.to_string_lossy(), "publicKey": pem}),
            )
        }
        None => output.result(pem.trim_end(), &json!({"publicKey": pem})),
    }
}
