//! Who the user is.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use marblerun_client::ClientIdentity;

use crate::files;

/// Longest certificate or key file that is read, in bytes.
const MAXIMUM_FILE: usize = 1 << 20;

/// Flags of the commands that only users may run.
#[derive(Args)]
pub struct UserFlags {
    /// PEM file with the user's certificate, as it stands in the manifest
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate (PKCS#8, PKCS#1 or SEC 1)
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    key: Option<PathBuf>,
}

impl UserFlags {
    /// Reads certificate and key.
    pub fn identity(&self) -> Result<ClientIdentity> {
        let (certificate, key) = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => {
                bail!(
                    "only users may do this: name the files of your certificate and its key with --cert and --key"
                )
            }
            (Some(_), None) => bail!("--cert needs --key: the file of the certificate's private key"),
            (None, Some(_)) => bail!("--key needs --cert: the file of the key's certificate"),
        };
        ClientIdentity::from_pem(
            &files::read(certificate, MAXIMUM_FILE)?,
            &files::read_secret(key, MAXIMUM_FILE)?,
        )
        .with_context(|| {
            format!(
                "{} and {} do not make a user",
                certificate.display(),
                key.display()
            )
        })
    }
}
