//! `manifest verify`

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use marblerun_client::manifest_fingerprint;
use serde_json::json;

use crate::flags::GlobalFlags;
use crate::manifest_file;
use crate::output::Output;
use crate::session::{self, Session, advise_manifest};

/// Arguments of `manifest verify`.
#[derive(Args)]
pub struct Arguments {
    /// The manifest that must be in force: a file (JSON or YAML) or its signature, 64 hex digits
    #[arg(value_name = "FILE|HASH")]
    manifest: String,
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
}

/// Verifies the Coordinator and that the manifest is in force, and pins.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let expected = expected(&arguments.manifest)?;
    session::run(async {
        let session = Session::fresh(flags, &arguments.address).await?;
        let manifest = session.coordinator().manifest().await.map_err(advise_manifest)?;
        let found = manifest_fingerprint(manifest.manifest.as_ref());
        if found != expected || manifest.fingerprint != expected {
            bail!(
                "another manifest is in force: its signature is {}, expected {expected}",
                if found == expected {
                    manifest.fingerprint
                } else {
                    found
                }
            );
        }
        session.pin(flags).await
    })?;
    output.result("OK", &json!({"ok": true, "manifestSignature": expected}))
}

/// The signature that an argument stands for.
fn expected(argument: &str) -> Result<String> {
    let path = Path::new(argument);
    if path.exists() {
        return Ok(manifest_fingerprint(&manifest_file::read(path)?));
    }
    match hex::decode(argument) {
        Ok(hash) if hash.len() == 32 => Ok(hex::encode(hash)),
        _ => bail!("{argument:?} is neither an existing file nor a manifest signature (64 hex digits)"),
    }
}
