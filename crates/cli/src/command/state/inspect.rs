//! `state inspect`

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use marblerun_core::original::{MAX_ORIGINAL_HEADER_BYTES, OriginalHeader};
use marblerun_core::recovery::RecoveryScheme;
use marblerun_core::sealed::{Header, MAX_HEADER_BYTES, SealedError, StateCipher};
use serde_json::{Value, json};

use crate::output::Output;

/// Arguments of `inspect`.
#[derive(Args)]
pub struct Arguments {
    /// File with a sealed state: `sealed_data` of a Coordinator, or of the original
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints the clear header. Nothing is decrypted, and nothing says that the file is genuine.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let path = &arguments.file;
    let front = front(path)?;
    let (text, value) = match Header::parse(&front) {
        Ok((header, length)) => ours(&header, length),
        Err(error @ SealedError::NotOurs { .. }) => match OriginalHeader::parse(&front) {
            Some(header) => original(&header),
            None => {
                return Err(anyhow!(
                    "{}: {error}, or as a state of the original",
                    path.display()
                ));
            }
        },
        Err(error) => return Err(anyhow!("{}: {error}", path.display())),
    };
    output.result(&text, &value)
}

/// As much of the file as a header of either format can have, and some of what is behind it.
fn front(path: &Path) -> Result<Vec<u8>> {
    let limit = MAX_HEADER_BYTES.max(MAX_ORIGINAL_HEADER_BYTES) + 64;
    if path.is_dir() {
        bail!(
            "{} is a directory: expected a file, such as `sealed_data` in it",
            path.display()
        );
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut front = Vec::new();
    file.take(limit as u64)
        .read_to_end(&mut front)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(front)
}

fn ours(header: &Header, length: usize) -> (String, Value) {
    let plan = &header.recovery;
    let cipher = match header.cipher {
        StateCipher::Aes128Gcm => "AES-128-GCM (p256-aes128)",
        StateCipher::Aes256Gcm => "AES-256-GCM (p384-aes256)",
    };
    let recovery = match plan.scheme() {
        RecoveryScheme::None => "none: it cannot be recovered",
        RecoveryScheme::Single => "with one recovery key",
        RecoveryScheme::Xor => "with all recovery keys",
        RecoveryScheme::Shamir => "with a threshold of the recovery keys",
    };
    let hashes = digits(plan.share_hashes());
    let mut text = format!(
        "Format:         MarbleRun, version 1\nState ID:       {}\nCipher:         {cipher}\nKey generation: {}\n\
         Recovery:       {recovery}\nShares:         {}\nNeeded:         {}\nHeader:         {length} bytes",
        header.state_id,
        header.key_generation,
        plan.shares(),
        plan.threshold(),
    );
    list(&mut text, &hashes);
    let value = json!({
        "format": "marblerun",
        "version": marblerun_core::sealed::FORMAT_VERSION,
        "stateID": header.state_id.to_string(),
        "cipher": cipher,
        "keyGeneration": header.key_generation,
        "recovery": recovery,
        "shares": plan.shares(),
        "needed": plan.threshold(),
        "shareHashes": hashes,
    });
    (text, value)
}

fn original(header: &OriginalHeader) -> (String, Value) {
    let hashes = digits(header.share_hashes());
    let recovery = if hashes.is_empty() {
        "with one recovery key, or none: the header does not say"
    } else {
        "with all recovery keys or a threshold of them: the header does not say"
    };
    let mut text = format!(
        "Format:         original\nRecovery:       {recovery}\nShares:         {}",
        hashes.len()
    );
    list(&mut text, &hashes);
    let value = json!({
        "format": "original",
        "recovery": recovery,
        "shares": hashes.len(),
        "shareHashes": hashes,
    });
    (text, value)
}

fn digits(hashes: &[[u8; 32]]) -> Vec<String> {
    hashes.iter().map(hex::encode).collect()
}

/// Writing to a string does not fail.
fn list(text: &mut String, hashes: &[String]) {
    for hash in hashes {
        let _ = write!(text, "\nShare SHA-256:  {hash}");
    }
}
