//! `manifest set`

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use marblerun_client::manifest_fingerprint;
use marblerun_client::rest::{go_json_string, v2};
use serde_json::json;

use crate::flags::GlobalFlags;
use crate::output::{Output, warning};
use crate::session::{self, Session};
use crate::{files, manifest_file};

/// Arguments of `manifest set`.
#[derive(Args)]
pub struct Arguments {
    /// The manifest, JSON or YAML
    #[arg(value_name = "FILE")]
    manifest: PathBuf,
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// File to save the recovery data to [default: standard output]
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    recoverydata: Option<PathBuf>,
}

/// Verifies the Coordinator, sets the manifest, keeps the recovery data and pins.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let manifest = manifest_file::read(&arguments.manifest)?;
    // Recovery data exists once: what cannot be kept must not be made.
    let made = match &arguments.recoverydata {
        Some(path) => files::probe(path)?.then_some(path),
        None => None,
    };
    let fingerprint = manifest_fingerprint(&manifest);
    session::run(async {
        let (session, set) = match set(arguments, flags, output, &manifest, &fingerprint).await {
            Ok(done) => done,
            Err(error) => {
                if let Some(path) = made {
                    // Empty, and made above: nothing is lost if it stays.
                    let _ = std::fs::remove_file(path);
                }
                return Err(error);
            }
        };
        report(arguments, output, &fingerprint, &set)?;
        session
            .pin(flags)
            .await
            .context("the manifest is set, but the Coordinator could not be pinned")
    })
}

async fn set(
    arguments: &Arguments,
    flags: &GlobalFlags,
    output: &Output,
    manifest: &[u8],
    fingerprint: &str,
) -> Result<(Session, v2::ManifestSet)> {
    let session = Session::fresh(flags, &arguments.address).await?;
    output.notice(&format!("Manifest signature: {fingerprint}"))?;
    let set = session.coordinator().set_manifest(manifest).await?;
    Ok((session, set))
}

fn report(arguments: &Arguments, output: &Output, fingerprint: &str, set: &v2::ManifestSet) -> Result<()> {
    let text = "Manifest successfully set";
    if set.recovery_secrets.0.is_empty() {
        return output.result(text, &json!({"manifestSignature": fingerprint}));
    }
    let data = go_json_string(set)?;
    if let Some(path) = &arguments.recoverydata {
        match files::write(path, format!("{data}\n").as_bytes()) {
            Ok(()) => {
                return output.result(
                    &format!("{text}\nRecovery data saved to {}", path.display()),
                    &json!({"manifestSignature": fingerprint, "recoveryData": path.to_string_lossy()}),
                );
            }
            Err(error) => warning(&format!(
                "{error:#}; the recovery data follows on standard output: keep it"
            )),
        }
    }
    let secrets = serde_json::to_value(&set.recovery_secrets)?;
    output.result(
        &format!("{text}\n{data}"),
        &json!({"manifestSignature": fingerprint, "RecoverySecrets": secrets}),
    )
}
