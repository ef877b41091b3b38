//! `manifest update cancel`

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::session::{self, Session, advise_user};
use crate::user::UserFlags;

/// Arguments of `manifest update cancel`.
#[derive(Args)]
pub struct Arguments {
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    #[command(flatten)]
    user: UserFlags,
}

/// Drops the pending update.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let user = arguments.user.identity()?;
    let cancelled = session::run(async {
        let session = Session::pinned_as(flags, &arguments.address, user).await?;
        session.coordinator().cancel_update().await.map_err(advise_user)
    })?;
    output.result("Cancellation successful", &json!({"message": cancelled.message}))
}
