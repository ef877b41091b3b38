//! `secret set`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::flags::GlobalFlags;
use crate::output::Output;
use crate::secret_file;
use crate::session::{self, Session, advise_user};
use crate::user::UserFlags;

/// Arguments of `secret set`.
#[derive(Args)]
pub struct Arguments {
    /// The values: JSON {name: {"Key": base64} or {"Cert": base64, "Private": base64}}; with --from-pem PEM
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Address of the Coordinator's client API, host:port
    #[arg(value_name = "ADDR")]
    address: String,
    /// The secret that the certificate and private key in the PEM file are for
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    from_pem: Option<String>,
    #[command(flatten)]
    user: UserFlags,
}

/// Uploads the values.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let upload = match &arguments.from_pem {
        Some(name) => secret_file::read_pem(&arguments.file, name)?,
        None => secret_file::read_json(&arguments.file)?,
    };
    let user = arguments.user.identity()?;
    session::run(async {
        let session = Session::pinned_as(flags, &arguments.address, user).await?;
        session
            .coordinator()
            .write_secrets(&upload)
            .await
            .map_err(advise_user)
    })?;
    let names: Vec<&String> = upload.secrets.0.keys().collect();
    output.result("Secret successfully set", &json!({"secrets": names}))
}
