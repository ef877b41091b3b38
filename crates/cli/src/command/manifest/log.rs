//! `manifest log`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::files;
use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::session::{self, Session};

/// Arguments of `manifest log`.
#[derive(Args)]
pub struct Arguments {
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// File to save to [default: standard output]
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: Option<PathBuf>,
}

/// Prints the update log, one JSON text a line.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let log = session::run(async {
        let session = Session::pinned(flags, &arguments.address).await?;
        Ok(session.coordinator().update_log().await?)
    })?;
    let lines = log.join("\n");
    match &arguments.output {
        Some(path) => {
            files::write(path, lines.as_bytes())?;
            output.result(
                &format!("Update log written to: {}", path.display()),
                &json!({"file": path.to_string_lossy(), "entries": log.len()}),
            )
        }
        None => {
            let entries: Vec<Value> = log
                .iter()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.clone())))
                .collect();
            output.result(&format!("Update log:\n{lines}"), &Value::Array(entries))
        }
    }
}
