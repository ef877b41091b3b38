//! `manifest update get`

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgAction, Args};
use marblerun_client::manifest_fingerprint;
use serde_json::json;

use crate::files;
use crate::flags::{GlobalFlags, switch};
use crate::output::Output;
use crate::session::{self, Session, advise_user};

/// Arguments of `manifest update get`.
#[derive(Args)]
pub struct Arguments {
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// File to save to [default: standard output]
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: Option<PathBuf>,
    /// Instead of the manifest, how many acknowledgements are missing and whose they may be
    #[arg(
        long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = switch
    )]
    missing: bool,
}

/// Prints the pending manifest, byte for byte what must be acknowledged, or who is missing.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let pending = session::run(async {
        let session = Session::pinned(flags, &arguments.address).await?;
        session.coordinator().pending_update().await.map_err(advise_user)
    })?;
    let signature = manifest_fingerprint(pending.manifest.as_ref());
    let users = pending.missing_users.unwrap_or_default();
    let named = users.iter().all(|user| pending.message.contains(user.as_str()));
    let missing = if named {
        pending.message
    } else {
        format!("{}: {}", pending.message, users.join(", "))
    };
    match &arguments.output {
        Some(path) => {
            let (what, content) = if arguments.missing {
                ("Missing users", format!("{missing}\n").into_bytes())
            } else {
                ("Manifest", pending.manifest.0)
            };
            files::write(path, &content)?;
            output.result(
                &format!("{what} written to: {}", path.display()),
                &json!({"file": path.to_string_lossy(), "manifestSignature": signature}),
            )
        }
        None if arguments.missing => output.result(
            &missing,
            &json!({"message": missing, "missingUsers": users, "manifestSignature": signature}),
        ),
        None => output.bytes(pending.manifest.as_ref()),
    }
}
