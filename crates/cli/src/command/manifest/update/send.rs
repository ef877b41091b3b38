//! `manifest update apply|acknowledge`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use marblerun_client::manifest_fingerprint;
use marblerun_client::rest::text::{UPDATE_APPLIED, acknowledgement_message_naming};
use marblerun_client::rest::v2;
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
            What::Proposal => coordinator.propose_update(&manifest).await.map(proposed),
            What::Acknowledgement => coordinator.acknowledge_update(&manifest).await,
        }
        .map_err(advise_user)
    })?;
    let users = reply.missing_users.unwrap_or_default();
    let text = if reply.missing_acknowledgments > 0 {
        acknowledgement_message_naming(reply.missing_acknowledgments, &users)
    } else {
        // What the Coordinator says beside the fact itself.
        let more = reply
            .message
            .strip_prefix(UPDATE_APPLIED)
            .unwrap_or(&reply.message);
        let more = more.trim_start_matches(['.', ':', ';', ' ']);
        let line = if more.is_empty() { "" } else { "\n" };
        format!("Update manifest set successfully{line}{more}")
    };
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

fn proposed(received: v2::UpdateReceived) -> v2::Acknowledged {
    v2::Acknowledged {
        message: String::new(),
        missing_users: received.missing_users,
        missing_acknowledgments: received.missing_acknowledgments,
        recovery_secrets: received.recovery_secrets,
    }
}
