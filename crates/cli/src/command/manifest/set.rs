//! `manifest set`

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use marblerun_client::{RequestError, manifest_fingerprint};
use serde_json::json;

use super::check;
use crate::flags::GlobalFlags;
use crate::manifest_file;
use crate::output::Output;
use crate::recovery_data::RecoveryPlace;
use crate::session::{self, Session};

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
    check::warn(&manifest);
    let place = RecoveryPlace::prepare(arguments.recoverydata.as_deref())?;
    let fingerprint = manifest_fingerprint(&manifest);
    session::run(async {
        let session = Session::fresh(flags, &arguments.address).await?;
        output.notice(&format!("Manifest signature: {fingerprint}"))?;
        let set = session
            .coordinator()
            .set_manifest(&manifest)
            .await
            .map_err(explain)?;
        place.report(
            output,
            "Manifest successfully set",
            json!({"manifestSignature": fingerprint}),
            Some(set.recovery_secrets),
        )?;
        session
            .pin(flags)
            .await
            .context("the manifest is set, but the Coordinator could not be pinned")
    })
}

fn explain(error: RequestError) -> anyhow::Error {
    match error {
        RequestError::Refused { ref message, .. } if message.contains("expected state") => anyhow!(
            "{error}: a manifest is in force already; users change it with `marblerun manifest update apply`"
        ),
        other => other.into(),
    }
}
