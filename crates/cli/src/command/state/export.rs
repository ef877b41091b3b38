//! `state export`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use marblerun_client::Limits;
use serde_json::json;

use crate::files;
use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::session::{self, Session, advise_user};
use crate::user::UserFlags;

/// Longest answer that is taken, in bytes: it holds the manifest and all secrets, in base64 of base64.
const MAXIMUM_ANSWER: usize = 1 << 30;
/// The Coordinator may have to make keys.
const REQUEST: Duration = Duration::from_secs(600);

/// Arguments of `state export`.
#[derive(Args)]
pub struct Arguments {
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// File to save to: a `sealed_data` of the original
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    output: PathBuf,
    #[command(flatten)]
    user: UserFlags,
}

/// Saves the state in the format of the original. It is encrypted, and opens with the recovery secrets.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let user = arguments.user.identity()?;
    let limits = Limits {
        request: REQUEST,
        answer: MAXIMUM_ANSWER,
        ..Limits::default()
    };
    let path = &arguments.output;
    let sealed = session::run(async {
        let session = Session::pinned_within(flags, &arguments.address, user, limits).await?;
        session.coordinator().export_state().await.map_err(advise_user)
    })?;
    files::write_new(path, &sealed)?;
    output.result(
        &format!("State exported to: {}", path.display()),
        &json!({"file": path.to_string_lossy(), "bytes": sealed.len()}),
    )
}
