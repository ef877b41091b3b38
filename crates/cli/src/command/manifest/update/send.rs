//! `manifest update apply|acknowledge`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use marblerun_client::manifest_fingerprint;
use marblerun_client::rest::text::{acknowledgement_message, acknowledgement_message_naming};
use serde_json::json;

use super::super::check;
use crate::flags::GlobalFlags;
use crate::manifest_file;
use crate::output::Output;
use crate::recovery_data::RecoveryPlace;
use crate::session::{self, Session, advise_user};
use crate::user::UserFlags;

/// Arguments of both.
#[derive(Args)]
pub struct Arguments {
    /// The new manifest or the package update, JSON or YAML
    #[arg(value_name = "FILE")]
    manifest: PathBuf,
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// File to save new recovery data to, if the update makes any [default: standard output]
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    recoverydata: Option<PathBuf>,
    #[command(flatten)]
    user: UserFlags,
}

/// What the manifest is sent as.
#[derive(Clone, Copy)]
pub enum What {
    /// A new update.
    Proposal,
    /// Consent to the pending one.
    Acknowledgement,
}

/// Sends the manifest and says whether it is in force, or who is missing.
pub fn run(what: What, arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let manifest = manifest_file::read(&arguments.manifest)?;
    if matches!(what, What::Proposal) {
        check::warn(&manifest);
    }
    let user = arguments.user.identity()?;
    let place = RecoveryPlace::prepare(arguments.recoverydata.as_deref())?;
    let reply = session::run(async {
        let session = Session::pinned_as(flags, &arguments.address, user).await?;
        let coordinator = session.coordinator();
        match what {
            What::Proposal => coordinator.propose_update(&manifest).await,
            What::Acknowledgement => coordinator.acknowledge_update(&manifest).await,
        }
        .map_err(advise_user)
    })?;
    let users = reply.missing_users.unwrap_or_default();
    let missing = reply.missing_acknowledgments;
    let named = acknowledgement_message_naming(missing, &users);
    // What the Coordinator says beside the fact itself.
    let more = [named.as_str(), &acknowledgement_message(missing)]
        .into_iter()
        .find_map(|fact| reply.message.strip_prefix(fact))
        .unwrap_or(&reply.message)
        .trim_start_matches(['.', ':', ';', ' ']);
    let fact = if missing == 0 {
        "Update manifest set successfully"
    } else {
        named.as_str()
    };
    let line = if more.is_empty() { "" } else { "\n" };
    let text = format!("{fact}{line}{more}");
    place.report(
        output,
        &text,
        json!({
            "manifestSignature": manifest_fingerprint(&manifest),
            "missingAcknowledgments": reply.missing_acknowledgments,
            "missingUsers": users,
        }),
        reply.recovery_secrets,
    )
}
