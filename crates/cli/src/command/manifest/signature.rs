//! `manifest signature`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use marblerun_client::manifest_fingerprint;
use serde_json::json;

use crate::manifest_file;
use crate::output::Output;

/// Arguments of `manifest signature`.
#[derive(Args)]
pub struct Arguments {
    /// The manifest, JSON or YAML
    #[arg(value_name = "FILE")]
    manifest: PathBuf,
}

/// Prints SHA-256 of the manifest as it would be uploaded.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let fingerprint = manifest_fingerprint(&manifest_file::read(&arguments.manifest)?);
    output.result(&fingerprint, &json!({"manifestSignature": fingerprint}))
}
