//! Recovery secrets and recovery keys in files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use marblerun_client::rest::{Base64Secret, v2};
use marblerun_client::{RecoveryKey, RecoveryKeyError, RequestError, is_plain_recovery_secret};
use serde_json::json;
use zeroize::Zeroizing;

use crate::files;
use crate::output::Output;

/// Longest file of a secret or signature, in bytes: more than RSA of 8192 bits in base64.
const MAXIMUM_SECRET: usize = 4096;
/// Longest key file, in bytes.
const MAXIMUM_KEY: usize = 1 << 20;

/// The holder's key.
#[derive(Args)]
pub struct RecoveryKeyFlag {
    /// PEM file with your recovery key, a private RSA key (PKCS#8 or PKCS#1)
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true)]
    key: Option<PathBuf>,
}

impl RecoveryKeyFlag {
    /// Whether a key was named.
    pub fn is_given(&self) -> bool {
        self.key.is_some()
    }

    /// Reads the key.
    pub fn read(&self) -> Result<(RecoveryKey, &Path)> {
        let path = self
            .key
            .as_deref()
            .context("this needs your recovery key: name its file with --key")?;
        let pem = files::read_secret(path, MAXIMUM_KEY)?;
        let key = RecoveryKey::from_pem(&pem).with_context(|| format!("{} is unusable", path.display()))?;
        Ok((key, path))
    }

    /// The plain secret of a file, and the key.
    pub fn plain_secret(&self, file: &Path) -> Result<(Zeroizing<Vec<u8>>, RecoveryKey)> {
        let (key, key_path) = self.read()?;
        let secret = read_secret(file)?;
        let plain = key.plain(&secret).map_err(|error| match error {
            RecoveryKeyError::Length { .. } if is_base64(&secret) => anyhow!(
                "{}: {error}; it looks like base64: undo that first, for example with `base64 -d`",
                file.display()
            ),
            other => anyhow!("{} with {}: {other}", file.display(), key_path.display()),
        })?;
        Ok((plain, key))
    }
}

/// Reads a recovery secret, plain or encrypted.
pub fn read_secret(file: &Path) -> Result<Zeroizing<Vec<u8>>> {
    files::read_secret(file, MAXIMUM_SECRET)
}

/// Reads a signature or a public key.
pub fn read_public(file: &Path) -> Result<Vec<u8>> {
    files::read(file, MAXIMUM_KEY)
}

/// Prints what the Coordinator said to a secret.
pub fn report(output: &Output, recovered: &v2::Recovered) -> Result<()> {
    output.result(
        &recovered.message,
        &json!({"remaining": recovered.remaining, "message": recovered.message}),
    )
}

/// Adds what to do next to the refusal of a Coordinator that waits for no secrets.
pub fn advise(error: RequestError) -> anyhow::Error {
    match error {
        RequestError::Refused { ref message, .. } if message.contains("expected state") => {
            anyhow!("{error}; `marblerun status` says what it is ready for")
        }
        other => other.into(),
    }
}

/// Whether the content of a file is a secret in base64, plain or encrypted.
pub fn is_base64(content: &[u8]) -> bool {
    std::str::from_utf8(content)
        .ok()
        .and_then(|text| Base64Secret::decode(text.trim()).ok())
        .is_some_and(|decoded| {
            let length = decoded.expose().len();
            is_plain_recovery_secret(length) || length >= 256
        })
}
