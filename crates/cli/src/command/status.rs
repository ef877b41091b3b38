//! `status`

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::session::{self, Session};

/// Arguments of `status`.
#[derive(Args)]
pub struct Arguments {
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
}

/// Prints the phase the Coordinator is in.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let status = session::run(async {
        let session = Session::pinned(flags, &arguments.address).await?;
        Ok(session.coordinator().status().await?)
    })?;
    output.result(
        &format!("{}: {}", status.code, status.message),
        &json!({"code": status.code, "message": status.message}),
    )
}
