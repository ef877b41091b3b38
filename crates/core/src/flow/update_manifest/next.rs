//! The deployment an update leads to: checked, made and, with the last acknowledgement, put in force by the same
//! code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Applied, LoweredVersion, lowered};
use crate::ambient::{Ambient, Timestamp};
use crate::change::Change;
use crate::flow::rehearsal::Rehearsal;
use crate::flow::set_manifest::{consequences, refuse_manifest};
use crate::flow::update_packages::{issue_certificates, renewal};
use crate::manifest::{self, HsmEnvironment, Limits, Manifest, Name};
use crate::pki::authority::{self, Authority};
use crate::recovery::{self, RecoveryPlan};
use crate::refusal::Refusal;
use crate::sealed::{DataKey, StateCipher};
use crate::secret::generate;
use crate::secret::spec::SecretSpec;
use crate::secret::value::{SecretBytes, SecretValue};
use crate::state::{Deployment, PreviousSecret, State};

/// Everything the deployment of a new manifest differs in from the present one.
pub(super) struct NextDeployment {
    manifest: Arc<Manifest>,
    signature: Arc<[u8]>,
    renewed: Authority,
    secrets: NextSecrets,
    data_key: Option<NextDataKey>,
    lowered: Vec<LoweredVersion>,
    warnings: Vec<String>,
}

/// What becomes of the secrets.
struct NextSecrets {
    /// The new root secret, if it is rotated.
    root_secret: Option<SecretBytes>,
    /// Generated values, of new secrets and in place of old ones.
    generated: Vec<(Name, Arc<SecretValue>)>,
    dropped: Vec<Name>,
    previous: Vec<(Name, PreviousSecret)>,
}

/// A new data encryption key.
struct NextDataKey {
    key_generation: u64,
    key: DataKey,
    recovery: RecoveryPlan,
    recovery_secrets: BTreeMap<Name, Vec<u8>>,
}

/// Names and versions of the stored secrets that were looked at.
type SecretVersions = Vec<(Name, u64)>;

impl NextDeployment {
    /// Makes it, from the bytes of a manifest. Takes as long as the keys it has to make.
    ///
    /// # Errors
    /// `WrongPhase`, `TooLarge`, `Invalid` with all problems of the manifest, `Internal`.
    pub(super) fn prepare(
        state: &State,
        raw: &[u8],
        limits: &Limits,
        environment: &HsmEnvironment,
        ambient: &Ambient<'_>,
    ) -> Result<(Self, SecretVersions), Refusal> {
        let present = state.deployed()?;
        // 1. The manifest itself.
        let checked = manifest::check(raw, limits, environment)
            .map_err(|error| refuse_manifest("checking update manifest", &error))?;
        let manifest = checked.manifest;
        let signature = authority::sign_manifest(&state.authority, &manifest.raw, ambient)?;
        // 2. A new intermediate, and the values of secrets: kept, renewed, generated.
        let renewed = authority::renew_intermediate(&state.authority, ambient)?;
        let secrets = NextSecrets::make(state, present, &manifest, &renewed, ambient)?;
        // 3. Templates, with the user-defined values that are kept.
        let mut versions = Vec::new();
        let mut rehearsal = Rehearsal::of_new(&manifest, &renewed);
        for (name, stored) in kept_uploads(present, &manifest) {
            versions.push((Arc::clone(name), state.secret_version(name)));
            rehearsal.change(name, Some(Arc::clone(stored)));
        }
        rehearsal.run()?;
        // 4. A new data key, if recovery works differently from now on.
        let data_key = NextDataKey::make(state, present, &manifest, ambient)?;

        let mut warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
        let plan = data_key.as_ref().map(|next| &next.recovery);
        let plan = plan.or(present.sealing.as_ref().map(|sealing| &sealing.recovery));
        warnings.extend(plan.map(|plan| consequences(&manifest, plan)).unwrap_or_default());
        let packages = manifest.packages.iter();
        let asked = packages
            .filter_map(|(name, package)| Some((Arc::clone(name), package.sgx.as_ref()?.security_version?)));
        let lowered = lowered(present, asked);
        for lowered in &lowered {
            warnings.push(format!(
                "Packages: SecurityVersion of {lowered} lowered by the update"
            ));
        }
        let next = Self {
            manifest: Arc::new(manifest),
            signature: signature.into(),
            renewed,
            secrets,
            data_key,
            lowered,
            warnings,
        };
        Ok((next, versions))
    }

    /// Packages whose security version it lowers.
    pub(super) fn lowered(&self) -> &[LoweredVersion] {
        &self.lowered
    }

    /// The manifest's bytes.
    pub(super) fn raw(&self) -> Arc<[u8]> {
        Arc::clone(&self.manifest.raw)
    }

    /// New recovery secrets by recovery key; empty when there are none.
    pub(super) fn recovery_secrets(&self) -> &BTreeMap<Name, Vec<u8>> {
        static NONE: BTreeMap<Name, Vec<u8>> = BTreeMap::new();
        self.data_key
            .as_ref()
            .map_or(&NONE, |next| &next.recovery_secrets)
    }

    /// The changes that put it in force.
    pub(super) fn changes(&self, at: Timestamp) -> Vec<Change> {
        let secrets = &self.secrets;
        let mut changes = vec![
            Change::UpdateApplied {
                at,
                manifest: Arc::clone(&self.manifest),
                signature: Arc::clone(&self.signature),
                root_secret: secrets.root_secret.clone(),
                dropped: secrets.dropped.clone(),
                previous: secrets.previous.clone(),
            },
            renewal(&self.renewed),
        ];
        if !secrets.generated.is_empty() {
            changes.push(Change::SecretsGenerated {
                values: secrets.generated.clone(),
            });
        }
        if let Some(next) = &self.data_key {
            changes.push(Change::DataKeyDrawn {
                key_generation: next.key_generation,
                key: next.key.clone(),
                recovery: next.recovery.clone(),
            });
        }
        changes
    }

    /// What is told of it.
    pub(super) fn applied(&self) -> Applied {
        Applied {
            recovery_secrets: self.recovery_secrets().clone(),
            lowered: self.lowered.clone(),
            warnings: self.warnings.clone(),
        }
    }
}

impl NextSecrets {
    fn make(
        state: &State,
        present: &Deployment,
        manifest: &Manifest,
        renewed: &Authority,
        ambient: &Ambient<'_>,
    ) -> Result<Self, Refusal> {
        let rotate = manifest.config.rotate_root_secret;
        let mut next = Self {
            root_secret: rotate.then(|| SecretBytes::fill_with(32, |bytes| ambient.dice.fill(bytes))),
            generated: issue_certificates(&manifest.secrets, renewed, ambient)?,
            dropped: Vec::new(),
            previous: Vec::new(),
        };
        for (name, old) in &present.manifest.secrets {
            if !manifest
                .secrets
                .get(name)
                .is_some_and(|new| same_definition(old, new))
            {
                next.dropped.push(Arc::clone(name));
            }
        }
        let dropped: BTreeSet<&Name> = next.dropped.iter().collect();
        for (name, spec) in &manifest.secrets {
            if spec.user_defined {
                continue;
            }
            let is_kept = present.manifest.secrets.contains_key(name) && !dropped.contains(name);
            let stored = present.secrets.get(name).filter(|_| is_kept);
            let is_key = spec.symmetric_length().is_some();
            if let Some(stored) = stored
                && (rotate || !is_key)
            {
                next.previous
                    .push((Arc::clone(name), PreviousSecret::Value(Arc::clone(&stored.value))));
            } else if is_kept && is_key && rotate && !spec.shared {
                let before = PreviousSecret::RootSecret(state.root_secret.clone());
                next.previous.push((Arc::clone(name), before));
            }
            if is_key && spec.shared && (stored.is_none() || rotate) {
                let value = generate::generate(spec, renewed, ambient)?;
                next.generated.push((Arc::clone(name), Arc::new(value)));
            }
        }
        Ok(next)
    }
}

impl NextDataKey {
    /// `None` as long as the recovery keys, by name and text, and the number of shares needed stay the same.
    fn make(
        state: &State,
        present: &Deployment,
        manifest: &Manifest,
        ambient: &Ambient<'_>,
    ) -> Result<Option<Self>, Refusal> {
        if recovery_of(&present.manifest) == recovery_of(manifest) {
            return Ok(None);
        }
        let before = present
            .sealing
            .as_ref()
            .map_or(0, |sealing| sealing.key_generation);
        let key = DataKey::generate(StateCipher::of(state.authority.suite), ambient.dice);
        let (recovery, recovery_secrets) = recovery::split(
            &key,
            &manifest.recovery_keys,
            manifest.config.recovery_threshold,
            ambient,
        )?;
        Ok(Some(Self {
            key_generation: before.saturating_add(1),
            key,
            recovery,
            recovery_secrets,
        }))
    }
}

/// What recovery rests on: how many shares are needed, and names and texts of the keys.
fn recovery_of(manifest: &Manifest) -> (usize, Vec<(&str, &str)>) {
    let keys = &manifest.recovery_keys;
    let needed = match manifest.config.recovery_threshold {
        0 => keys.len(),
        threshold => threshold,
    };
    let texts = keys.iter().map(|(name, key)| (&**name, &*key.pem));
    (needed, texts.collect())
}

/// Whether values carry over: the template of a certificate may differ, as certificates are made anew anyway.
fn same_definition(old: &SecretSpec, new: &SecretSpec) -> bool {
    old.type_name() == new.type_name()
        && old.size == new.size
        && old.shared == new.shared
        && old.user_defined == new.user_defined
        && old.valid_for == new.valid_for
}

/// The uploaded values that stay.
fn kept_uploads<'a>(
    present: &'a Deployment,
    manifest: &'a Manifest,
) -> impl Iterator<Item = (&'a Name, &'a Arc<SecretValue>)> {
    manifest
        .secrets
        .iter()
        .filter(|(name, new)| {
            let old = present.manifest.secrets.get(*name);
            new.user_defined && old.is_some_and(|old| same_definition(old, new))
        })
        .filter_map(|(name, _)| Some((name, &present.secrets.get(name)?.value)))
}
