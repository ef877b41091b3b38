//! Every kind of commit: the state it begins with, and what is asked, step by step.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use marblerun_client::rest::{Base64Bytes, Named};
use serde_json::Value;

use super::Setting;
use super::coordinator::{Coordinator, Start, Started, state};
use super::deployment::{
    Cast, Holder, activate, connect, raise_counter, raise_package, recover, tell, write,
};
use super::templates::{Templates, large};

/// A kind of commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    SetManifest,
    Secrets,
    Activation,
    Counter,
    Package,
    Update,
    RecoveryKeys,
    SealMode,
    Checkpoint,
    Recovery,
    Import,
    GivenUp,
    /// A recovery that has to cut a torn tail.
    TornRecovery,
    /// No commit: a start that cuts a torn tail and removes an unfinished checkpoint.
    Start,
    /// No commit: a start in an empty directory.
    EmptyStart,
}

/// All of them.
pub const KINDS: [Kind; 15] = [
    Kind::SetManifest,
    Kind::Secrets,
    Kind::Activation,
    Kind::Counter,
    Kind::Package,
    Kind::Update,
    Kind::RecoveryKeys,
    Kind::SealMode,
    Kind::Checkpoint,
    Kind::Recovery,
    Kind::Import,
    Kind::GivenUp,
    Kind::TornRecovery,
    Kind::Start,
    Kind::EmptyStart,
];

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetManifest => "first manifest",
            Self::Secrets => "uploaded secrets",
            Self::Activation => "activation with a budget",
            Self::Counter => "monotonic counter",
            Self::Package => "update of a package",
            Self::Update => "update proposed, cancelled, proposed, applied",
            Self::RecoveryKeys => "other recovery keys (new data key)",
            Self::SealMode => "other seal mode",
            Self::Checkpoint => "checkpoint under uploads",
            Self::Recovery => "recovery",
            Self::Import => "state of the original taken over",
            Self::GivenUp => "manifest that gives up a state in recovery",
            Self::TornRecovery => "recovery of a state with a torn tail",
            Self::EmptyStart => "start in an empty directory",
            Self::Start => "start with a torn tail and an unfinished checkpoint",
        }
    }

    /// Whether the deployment afterwards is the one before.
    pub fn same_deployment(self) -> bool {
        !matches!(self, Self::SetManifest | Self::GivenUp | Self::EmptyStart)
    }

    /// How the Coordinator is started.
    pub fn start(self) -> Start {
        let flags = match self {
            Self::Import => vec!["--crypto-suite", "p384-aes256"],
            _ => Vec::new(),
        };
        Start {
            flags,
            ..Start::default()
        }
    }

    /// Whether it is a start, and no commit.
    pub fn is_start(self) -> bool {
        matches!(self, Self::Start | Self::EmptyStart)
    }

    /// How many steps it has.
    pub fn steps(self) -> usize {
        match self {
            Self::Start | Self::EmptyStart => 0,
            Self::Secrets => 3,
            Self::RecoveryKeys | Self::SealMode => 2,
            Self::Update => 4,
            Self::Checkpoint => 8,
            _ => 1,
        }
    }
}

/// What was asked of a Coordinator, and answered.
#[derive(Default)]
pub struct Outcome {
    /// Steps that were acknowledged.
    pub acknowledged: usize,
    /// Recovery secrets that an update yielded.
    pub new_secrets: Option<Named<Base64Bytes>>,
}

/// Does the steps until one is not acknowledged. Why not is only worth an error if the Coordinator is still there.
pub async fn act(
    setting: &Setting,
    cast: &Cast,
    templates: &Templates,
    kind: Kind,
    coordinator: &mut Coordinator,
    steps: Range<usize>,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let wanted = steps.len();
    for step in steps {
        match one_step(setting, cast, templates, kind, coordinator, step, &mut outcome).await {
            Ok(()) => outcome.acknowledged += 1,
            Err(_) if coordinator.ends_within(std::time::Duration::from_secs(5))? => break,
            Err(error) => return Err(error.context(format!("{}, step {step}", kind.name()))),
        }
    }
    if kind == Kind::Checkpoint && outcome.acknowledged == wanted {
        wait_for_checkpoint(coordinator)?;
    }
    Ok(outcome)
}

async fn one_step(
    setting: &Setting,
    cast: &Cast,
    templates: &Templates,
    kind: Kind,
    coordinator: &Coordinator,
    step: usize,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let propose = async |manifest: Value| -> anyhow::Result<()> {
        let alice = connect(coordinator, Some(&cast.alice)).await?;
        alice.propose_update(manifest.to_string().as_bytes()).await?;
        Ok(())
    };
    let acknowledge = async |manifest: Value| -> anyhow::Result<_> {
        let bob = connect(coordinator, Some(&cast.bob)).await?;
        Ok(bob.acknowledge_update(manifest.to_string().as_bytes()).await?)
    };
    let admin = async || connect(coordinator, Some(&cast.admin)).await;
    match (kind, step) {
        (Kind::SetManifest, _) => {
            let manifest = cast.manifest().to_string();
            connect(coordinator, None)
                .await?
                .set_manifest(manifest.as_bytes())
                .await?;
        }
        (Kind::GivenUp, _) => {
            let manifest = cast.other_manifest().to_string();
            connect(coordinator, None)
                .await?
                .set_manifest(manifest.as_bytes())
                .await?;
        }
        (Kind::Secrets, 0) => write(&admin().await?, &[("a", b"22")]).await?,
        (Kind::Secrets, 1) => write(&admin().await?, &[("a", b"333"), ("b", b"333")]).await?,
        (Kind::Secrets, _) => write(&admin().await?, &[("b", b"4444")]).await?,
        (Kind::Activation, _) => {
            ensure!(
                activate(setting, coordinator, "few")?.is_some(),
                "the marble was refused"
            );
        }
        (Kind::Counter, _) => {
            ensure!(
                raise_counter(setting, coordinator, 6).await? == 5,
                "the counter was not 5"
            );
        }
        (Kind::Package, _) => raise_package(&admin().await?, 4).await?,
        (Kind::Update, 0 | 2) => propose(cast.other_manifest()).await?,
        (Kind::Update, 1) => {
            connect(coordinator, Some(&cast.bob))
                .await?
                .cancel_update()
                .await?;
        }
        (Kind::Update, _) => drop(acknowledge(cast.other_manifest()).await?),
        (Kind::RecoveryKeys, 0) => propose(cast.other_recovery_keys()).await?,
        (Kind::RecoveryKeys, _) => {
            outcome.new_secrets = acknowledge(cast.other_recovery_keys()).await?.recovery_secrets;
        }
        (Kind::SealMode, 0) => propose(cast.other_seal_mode()).await?,
        (Kind::SealMode, _) => drop(acknowledge(cast.other_seal_mode()).await?),
        (Kind::Checkpoint, step) => {
            write(&admin().await?, &[("big", &large(step + 100))]).await?;
        }
        (Kind::Recovery | Kind::TornRecovery | Kind::Import, _) => {
            hand_in(coordinator, &cast.one, templates.secret_of(kind)).await?;
        }
        (Kind::Start | Kind::EmptyStart, _) => {}
    }
    Ok(())
}

async fn hand_in(coordinator: &Coordinator, holder: &Holder, secret: &[u8]) -> anyhow::Result<()> {
    let remaining = recover(&connect(coordinator, None).await?, holder, secret).await?;
    ensure!(remaining == 0, "{remaining} recovery secrets are still missing");
    Ok(())
}

/// What a Coordinator in `folder` tells after a start; one that waits for recovery is recovered, and tells again.
pub async fn look(
    setting: &Setting,
    cast: &Cast,
    templates: &Templates,
    kind: Kind,
    folder: &Path,
    deep: bool,
) -> anyhow::Result<Value> {
    let coordinator = match Coordinator::start(setting, folder, &kind.start())? {
        Started::Ready(coordinator) => coordinator,
        // Cut short before there was a state, it leaves files behind that a start may not take for nothing.
        Started::Ended(_, log) if kind == Kind::SetManifest && log.contains("a state may have been lost") => {
            let flags = vec!["--fresh"];
            Coordinator::running(
                setting,
                folder,
                &Start {
                    flags,
                    ..kind.start()
                },
            )?
        }
        Started::Ended(status, log) => bail!("the start ended with {status}\n{log}"),
    };
    let told = tell(setting, cast, &coordinator, kind.same_deployment(), deep).await?;
    if told.get("phase") != Some(&Value::from(1)) {
        return Ok(told);
    }
    hand_in(&coordinator, &cast.one, templates.secret_of(kind)).await?;
    let mut recovered = tell(setting, cast, &coordinator, kind.same_deployment(), deep).await?;
    // An attempt to give it up that was cut short may have left a copy behind.
    if let Some(fields) = recovered.as_object_mut() {
        fields.remove("aside");
    }
    Ok(serde_json::json!({"phase": 1, "recovers to": recovered}))
}

/// After an update of the recovery keys: the state opens with the secrets that go with it.
pub async fn opens_for_its_holder(
    setting: &Setting,
    cast: &Cast,
    templates: &Templates,
    folder: &Path,
    new_secrets: Option<&Named<Base64Bytes>>,
) -> anyhow::Result<()> {
    std::fs::remove_file(state(folder).join("sealed_key"))?;
    let coordinator = Coordinator::running(setting, folder, &Start::default())?;
    match new_secrets {
        Some(secrets) => {
            let secret = secrets
                .0
                .get("two")
                .context("the update yielded no secret for two")?;
            hand_in(&coordinator, &cast.two, &secret.0).await
        }
        None => hand_in(&coordinator, &cast.one, &templates.secret).await,
    }
}

fn wait_for_checkpoint(coordinator: &mut Coordinator) -> anyhow::Result<()> {
    let draft = state(coordinator.folder()).join("checkpoint.new");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while draft.exists() && !coordinator.has_ended()? {
        ensure!(std::time::Instant::now() < until, "a checkpoint does not end");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(())
}
