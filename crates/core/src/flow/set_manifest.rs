//! Setting the first manifest of a deployment (`docs/flows/set-manifest.md`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ambient::Ambient;
use crate::change::Change;
use crate::decision::{Decision, Prepared, Verdict};
use crate::manifest::{self, HsmEnvironment, Limits, Manifest, ManifestError, Name, SealMode};
use crate::phase::Phase;
use crate::pki::authority;
use crate::recovery::{self, RecoveryPlan, RecoveryScheme};
use crate::refusal::{Refusal, RefusalKind};
use crate::sealed::{DataKey, StateCipher};
use crate::secret::generate;
use crate::secret::value::SecretValue;
use crate::state::State;

/// A checked manifest with everything a deployment of it begins with.
pub struct NewDeployment {
    manifest: Arc<Manifest>,
    signature: Arc<[u8]>,
    key: DataKey,
    recovery: RecoveryPlan,
    recovery_secrets: BTreeMap<Name, Vec<u8>>,
    values: Vec<(Name, Arc<SecretValue>)>,
    warnings: Vec<String>,
}

impl NewDeployment {
    /// For each recovery key its encrypted recovery secret.
    pub fn recovery_secrets(&self) -> &BTreeMap<Name, Vec<u8>> {
        &self.recovery_secrets
    }
}

/// What the one who sets the manifest is told.
#[derive(Clone)]
pub struct ManifestSet {
    /// For each recovery key its encrypted recovery secret.
    pub recovery_secrets: BTreeMap<Name, Vec<u8>>,
    /// What the operator should know, for the log.
    pub warnings: Vec<String>,
}

/// Checks the manifest and makes what a deployment of it begins with: data encryption key and recovery secrets,
/// shared keys and certificates, the signature.
///
/// Takes as long as the keys it has to make; not for async threads.
///
/// # Errors
/// `WrongPhase`, `TooLarge`, `Invalid` with all problems of the manifest, or `Internal`.
pub fn prepare(
    state: &State,
    raw: &[u8],
    limits: &Limits,
    environment: &HsmEnvironment,
    ambient: &Ambient<'_>,
) -> Result<Prepared<NewDeployment>, Refusal> {
    check_phase(state)?;
    let checked = manifest::check(raw, limits, environment)
        .map_err(|error| refuse_manifest("checking manifest", &error))?;
    let manifest = checked.manifest;
    let signature = authority::sign_manifest(&state.authority, &manifest.raw, ambient)?;

    let key = DataKey::generate(StateCipher::of(state.authority.suite), ambient.dice);
    let (recovery, recovery_secrets) = recovery::split(
        &key,
        &manifest.recovery_keys,
        manifest.config.recovery_threshold,
        ambient,
    )?;

    let mut values = Vec::new();
    for (name, spec) in &manifest.secrets {
        if spec.shared && !spec.user_defined {
            let value = generate::generate(spec, &state.authority, ambient)?;
            values.push((Arc::clone(name), Arc::new(value)));
        }
    }

    let mut warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(consequences(&manifest, &recovery));
    Ok(Prepared {
        manifest_generation: state.manifest_generation(),
        secret_versions: Vec::new(),
        value: NewDeployment {
            manifest: Arc::new(manifest),
            signature: signature.into(),
            key,
            recovery,
            recovery_secrets,
            values,
            warnings,
        },
    })
}

/// Decides whether the prepared deployment may begin.
///
/// # Errors
/// `WrongPhase` when a manifest has been set meanwhile.
pub fn decide(
    state: &State,
    prepared: &Prepared<NewDeployment>,
    ambient: &Ambient<'_>,
) -> Result<Verdict<ManifestSet>, Refusal> {
    check_phase(state)?;
    if !prepared.holds_on(state) {
        return Ok(Verdict::Stale);
    }
    let new = &prepared.value;
    let mut changes = vec![
        Change::ManifestSet {
            at: ambient.now,
            manifest: Arc::clone(&new.manifest),
            signature: Arc::clone(&new.signature),
        },
        Change::DataKeyDrawn {
            key_generation: 1,
            key: new.key.clone(),
            recovery: new.recovery.clone(),
        },
    ];
    if !new.values.is_empty() {
        changes.push(Change::SecretsGenerated {
            values: new.values.clone(),
        });
    }
    Ok(Verdict::Decided(Decision {
        changes,
        reply: ManifestSet {
            recovery_secrets: new.recovery_secrets.clone(),
            warnings: new.warnings.clone(),
        },
    }))
}

/// Whether a first manifest may be set in the present phase; asked before anything costly.
///
/// # Errors
/// `WrongPhase`.
pub fn check_phase(state: &State) -> Result<(), Refusal> {
    match state.phase() {
        Phase::Recovery | Phase::AcceptingManifest => Ok(()),
        Phase::AcceptingMarbles => Err(Refusal::wrong_phase()),
    }
}

/// The refusal of a document, after what was being done with it.
pub(super) fn refuse_manifest(doing: &str, error: &ManifestError) -> Refusal {
    let kind = match error {
        ManifestError::TooLarge { .. } => RefusalKind::TooLarge,
        ManifestError::Syntax { .. } | ManifestError::Problems { .. } => RefusalKind::Invalid,
    };
    let text = error.to_string();
    // A list of problems says by itself that a manifest was checked.
    let text = text.strip_prefix("checking manifest: ").unwrap_or(&text);
    Refusal::new(kind, format!("{doing}: {text}"))
}

/// What follows from a manifest that its author may not expect.
pub(super) fn consequences(manifest: &Manifest, recovery: &RecoveryPlan) -> Vec<String> {
    let mut warnings = Vec::new();
    if recovery.scheme() == RecoveryScheme::None {
        warnings.push(
            "RecoveryKeys: none given; if the seal key is lost, the state cannot be recovered".to_owned(),
        );
    }
    if manifest.config.seal_mode == SealMode::Disabled {
        warnings.push("Config.SealMode: Disabled; a restart forgets everything".to_owned());
    }
    warnings
}
