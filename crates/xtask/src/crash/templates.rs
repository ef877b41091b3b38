//! States to begin with, made once for a campaign.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::Setting;
use super::commits::Kind;
use super::coordinator::{Coordinator, Start, copy_folder, state};
use super::deployment::{Cast, activate, connect, raise_counter, write};

/// Bytes of a large secret: a few of them make a checkpoint due.
const LARGE: usize = 300 << 10;

/// States to begin with, made once.
pub struct Templates {
    base: PathBuf,
    locked: PathBuf,
    original: PathBuf,
    empty: PathBuf,
    grown: PathBuf,
    torn: PathBuf,
    locked_and_torn: PathBuf,
    /// For the holder of the recovery key of the base.
    pub secret: Vec<u8>,
    /// The data key of the state of the original.
    original_secret: Vec<u8>,
}

impl Templates {
    /// Makes them below `folder`.
    pub async fn make(setting: &Setting, cast: &Cast, folder: &Path) -> anyhow::Result<Self> {
        let [base, locked, original, empty, grown, torn, locked_and_torn] =
            ["base", "locked", "original", "empty", "grown", "torn", "both"].map(|name| folder.join(name));
        for path in [&base, &original, &empty] {
            std::fs::create_dir_all(state(path))?;
        }
        let coordinator = Coordinator::running(setting, &base, &Start::default())?;
        let anybody = connect(&coordinator, None).await?;
        let set = anybody
            .set_manifest(cast.manifest().to_string().as_bytes())
            .await?;
        let secret = set
            .recovery_secrets
            .0
            .get("one")
            .context("there is no recovery secret")?
            .0
            .clone();
        let admin = connect(&coordinator, Some(&cast.admin)).await?;
        write(&admin, &[("a", b"1"), ("b", b"1")]).await?;
        ensure!(
            activate(setting, &coordinator, "few")?.is_some(),
            "a marble was refused"
        );
        raise_counter(setting, &coordinator, 5).await?;
        coordinator.kill()?;

        copy_folder(&base, &locked)?;
        std::fs::remove_file(state(&locked).join("sealed_key"))?;

        copy_folder(&base, &grown)?;
        let coordinator = Coordinator::running(setting, &grown, &Start::default())?;
        let admin = connect(&coordinator, Some(&cast.admin)).await?;
        for number in 0..2 {
            write(&admin, &[("big", &large(number))]).await?;
        }
        coordinator.kill()?;

        copy_folder(&base, &torn)?;
        let data = state(&torn).join("sealed_data");
        let mut bytes = std::fs::read(&data)?;
        let frame = bytes
            .get(bytes.len().saturating_sub(100)..)
            .unwrap_or_default()
            .to_vec();
        bytes.extend_from_slice(&frame);
        std::fs::write(&data, bytes)?;
        std::fs::write(state(&torn).join("checkpoint.new"), b"unfinished")?;
        copy_folder(&torn, &locked_and_torn)?;
        std::fs::remove_file(state(&locked_and_torn).join("sealed_key"))?;

        let golden = setting.root.join("crates/core/tests/golden");
        std::fs::copy(
            golden.join("original/single-sealed_data.bin"),
            state(&original).join("sealed_data"),
        )?;
        let recording: Value =
            serde_json::from_slice(&std::fs::read(golden.join("recovery/single-recovery.json"))?)?;
        let digits = recording
            .get("dek_hex")
            .and_then(Value::as_str)
            .context("no data key recorded")?;
        Ok(Self {
            base,
            locked,
            original,
            empty,
            grown,
            torn,
            locked_and_torn,
            secret,
            original_secret: from_hex(digits)?,
        })
    }

    /// The state a kind begins with.
    pub fn of(&self, kind: Kind) -> &Path {
        match kind {
            Kind::SetManifest | Kind::EmptyStart => &self.empty,
            Kind::Recovery | Kind::GivenUp => &self.locked,
            Kind::Import => &self.original,
            Kind::Checkpoint => &self.grown,
            Kind::Start => &self.torn,
            Kind::TornRecovery => &self.locked_and_torn,
            Kind::Secrets
            | Kind::Activation
            | Kind::Counter
            | Kind::Package
            | Kind::Update
            | Kind::RecoveryKeys
            | Kind::SealMode => &self.base,
        }
    }

    /// A copy of the state a kind begins with, in a folder that is not there yet.
    pub fn copy(&self, kind: Kind, folder: &Path) -> anyhow::Result<()> {
        copy_folder(self.of(kind), folder)
    }

    /// The secret that opens what waits for recovery.
    pub fn secret_of(&self, kind: Kind) -> &[u8] {
        match kind {
            Kind::Import => &self.original_secret,
            _ => &self.secret,
        }
    }
}

/// A large value that differs from all others.
pub fn large(number: usize) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.resize(LARGE, 7);
    value
}

fn from_hex(digits: &str) -> anyhow::Result<Vec<u8>> {
    let pair = |index: usize| {
        digits
            .get(index..index + 2)
            .map(|pair| u8::from_str_radix(pair, 16))
    };
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for index in (0..digits.len()).step_by(2) {
        match pair(index) {
            Some(Ok(byte)) => bytes.push(byte),
            _ => bail!("a recorded key is not hexadecimal"),
        }
    }
    Ok(bytes)
}
