//! The state of a Coordinator: the fold of its changes.
//!
//! [`State::apply`] is the only way it ever changes. Collections share structure, so a new state costs what
//! changed, and a snapshot stays valid for whoever reads it.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use uuid::Uuid;

use crate::change::Change;
use crate::manifest::{FeatureGate, Manifest, Name};
use crate::phase::Phase;
use crate::pki::authority::Authority;
use crate::recovery::RecoveryPlan;
use crate::refusal::Refusal;
use crate::sealed::{DataKey, sha256};
use crate::secret::value::{SecretBytes, SecretValue};
use crate::update_log::{self, LogEntry};

/// Everything a Coordinator knows that must survive it.
#[derive(Clone)]
pub struct State {
    /// Number of changes applied since the deployment began.
    pub(crate) position: u64,
    /// The certificate authority.
    pub(crate) authority: Arc<Authority>,
    /// 32 random bytes from which private keys of marbles are derived.
    pub(crate) root_secret: SecretBytes,
    /// Whether there is another state that does not open; this one is temporary then.
    pub(crate) recovering: bool,
    /// What exists once a manifest is set.
    pub(crate) deployment: Option<Deployment>,
}

/// What exists once a manifest is set.
#[derive(Clone)]
pub(crate) struct Deployment {
    pub(crate) manifest: Arc<Manifest>,
    /// The root key's signature over the manifest's raw bytes.
    pub(crate) signature: Arc<[u8]>,
    /// 1 for the first manifest, one more for each update.
    pub(crate) manifest_generation: u64,
    /// How the state is sealed; `None` only between two changes of one decision.
    pub(crate) sealing: Option<Sealing>,
    /// Values of shared and user-defined secrets; a user-defined one that was never uploaded is not there.
    pub(crate) secrets: OrdMap<Name, StoredSecret>,
    /// Where `.Previous` differs from the current value.
    pub(crate) previous: OrdMap<Name, PreviousSecret>,
    /// Activations counted so far, by marble type; types no manifest names any more included.
    pub(crate) activations: OrdMap<Name, u64>,
    /// Security versions that package updates put in the place of the manifest's, by package.
    pub(crate) raised: OrdMap<Name, u64>,
    /// A manifest that waits to be acknowledged.
    pub(crate) pending: Option<PendingUpdate>,
    /// Counters of marbles, by type and UUID; none without counters.
    pub(crate) counters: OrdMap<(Name, Uuid), OrdMap<Name, u64>>,
    /// How many counters there are together.
    pub(crate) counter_count: usize,
    /// How many of them marbles of a type have; none without counters.
    pub(crate) type_counter_counts: OrdMap<Name, usize>,
    /// The update log, in order.
    pub(crate) update_log: Vector<LogEntry>,
}

/// An update that was proposed and waits for acknowledgements.
#[derive(Clone)]
pub(crate) struct PendingUpdate {
    /// The position of its proposal: no two proposals have the same.
    pub(crate) number: u64,
    /// The manifest's bytes.
    pub(crate) raw: Arc<[u8]>,
    /// SHA-256 of the bytes.
    pub(crate) fingerprint: [u8; 32],
    /// The users who acknowledged it.
    pub(crate) acknowledged: OrdSet<Name>,
}

impl PendingUpdate {
    /// A proposal nobody has acknowledged yet.
    pub(crate) fn new(number: u64, raw: Arc<[u8]>) -> Self {
        Self {
            number,
            fingerprint: sha256(&[&raw]),
            raw,
            acknowledged: OrdSet::new(),
        }
    }
}

/// A stored value with its version: the position of the change that wrote it.
#[derive(Clone)]
pub(crate) struct StoredSecret {
    pub(crate) value: Arc<SecretValue>,
    pub(crate) version: u64,
}

/// What `.Previous` of a secret rests on.
#[derive(Clone)]
pub enum PreviousSecret {
    /// The value itself, of a shared secret.
    Value(Arc<SecretValue>),
    /// The root secret a private key was derived from before.
    RootSecret(SecretBytes),
}

/// How the state is sealed.
#[derive(Clone)]
pub struct Sealing {
    /// Number of the data encryption key, from 1.
    pub key_generation: u64,
    /// The data encryption key.
    pub key: DataKey,
    /// How the key can be put together again.
    pub recovery: RecoveryPlan,
}

impl State {
    /// The state of a Coordinator that has nothing but a certificate authority.
    ///
    /// `recovering`: there is another state that does not open; this one serves until that one is recovered or
    /// given up.
    pub fn begin(authority: Authority, root_secret: SecretBytes, recovering: bool) -> Self {
        Self {
            position: 0,
            authority: Arc::new(authority),
            root_secret,
            recovering,
            deployment: None,
        }
    }

    /// What the Coordinator is ready for.
    pub fn phase(&self) -> Phase {
        match (&self.deployment, self.recovering) {
            (Some(_), _) => Phase::AcceptingMarbles,
            (None, true) => Phase::Recovery,
            (None, false) => Phase::AcceptingManifest,
        }
    }

    /// The certificate authority.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The manifest, once set.
    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        self.deployment.as_ref().map(|deployment| &deployment.manifest)
    }

    /// How the state is sealed, once a manifest is set.
    pub fn sealing(&self) -> Option<&Sealing> {
        self.deployment
            .as_ref()
            .and_then(|deployment| deployment.sealing.as_ref())
    }

    /// Number of changes applied.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// 0 before a manifest is set, then 1, and one more for each update.
    pub fn manifest_generation(&self) -> u64 {
        self.deployment
            .as_ref()
            .map_or(0, |deployment| deployment.manifest_generation)
    }

    /// What is deployed, for those who need it to be.
    ///
    /// # Errors
    /// `WrongPhase` before a manifest is set.
    pub(crate) fn deployed(&self) -> Result<&Deployment, Refusal> {
        self.deployment.as_ref().ok_or_else(Refusal::wrong_phase)
    }

    /// Whether the manifest switches a feature on; no feature is on without a manifest.
    ///
    /// # Errors
    /// `FeatureDisabled` if it does not.
    pub fn check_feature(&self, gate: FeatureGate) -> Result<(), Refusal> {
        match self.manifest() {
            Some(manifest) if manifest.config.feature_gates.contains(&gate) => Ok(()),
            _ => Err(Refusal::feature_disabled(gate.name())),
        }
    }

    /// The version of a stored secret: the position of the change that wrote it, 0 when it has no value.
    pub fn secret_version(&self, name: &str) -> u64 {
        self.deployment
            .as_ref()
            .and_then(|deployment| deployment.secrets.get(name))
            .map_or(0, |stored| stored.version)
    }

    /// Activations counted of a marble type.
    pub fn activations(&self, marble_type: &str) -> u64 {
        self.deployment
            .as_ref()
            .and_then(|deployment| deployment.activations.get(marble_type))
            .copied()
            .unwrap_or(0)
    }

    /// Applies one fact. It cannot fail: whether the fact may come about was decided before.
    pub fn apply(&mut self, change: &Change) {
        self.position = self.position.saturating_add(1);
        let position = self.position;
        match change {
            Change::ManifestSet {
                manifest, signature, ..
            } => {
                self.recovering = false;
                self.deployment = Some(Deployment::begin(Arc::clone(manifest), Arc::clone(signature)));
            }
            Change::IntermediateRenewed {
                intermediate,
                marble_root,
                key,
            } => {
                self.authority = Arc::new(Authority {
                    intermediate: Arc::clone(intermediate),
                    marble_root: Arc::clone(marble_root),
                    intermediate_key: key.clone(),
                    ..Authority::clone(&self.authority)
                });
            }
            Change::UpdateApplied {
                root_secret: Some(root_secret),
                ..
            } => self.root_secret = root_secret.clone(),
            _ => {}
        }
        if let Some(deployment) = &mut self.deployment {
            deployment.apply(position, change);
        }
    }
}

impl Deployment {
    fn begin(manifest: Arc<Manifest>, signature: Arc<[u8]>) -> Self {
        Self {
            manifest,
            signature,
            manifest_generation: 1,
            sealing: None,
            secrets: OrdMap::new(),
            previous: OrdMap::new(),
            activations: OrdMap::new(),
            raised: OrdMap::new(),
            pending: None,
            counters: OrdMap::new(),
            counter_count: 0,
            type_counter_counts: OrdMap::new(),
            update_log: Vector::new(),
        }
    }

    /// The security version a package has to have at least, if its rules name one.
    pub(crate) fn security_version(&self, package: &str) -> Option<u64> {
        let raised = self.raised.get(package).copied();
        let rules = self.manifest.packages.get(package)?.sgx.as_ref();
        raised.or(rules?.security_version)
    }

    /// A counter of a marble; 0 before it was raised.
    pub(crate) fn counter(&self, owner: &(Name, Uuid), name: &str) -> u64 {
        let counters = self.counters.get(owner);
        counters
            .and_then(|counters| counters.get(name))
            .copied()
            .unwrap_or(0)
    }

    /// How many counters marbles of a type have together.
    pub(crate) fn counters_of_type(&self, marble_type: &str) -> usize {
        self.type_counter_counts.get(marble_type).copied().unwrap_or(0)
    }

    fn apply(&mut self, position: u64, change: &Change) {
        for line in update_log::lines(change, self) {
            self.log(line);
        }
        match change {
            Change::ManifestSet { .. } | Change::IntermediateRenewed { .. } => {}
            Change::DataKeyDrawn {
                key_generation,
                key,
                recovery,
            } => {
                self.sealing = Some(Sealing {
                    key_generation: *key_generation,
                    key: key.clone(),
                    recovery: recovery.clone(),
                });
            }
            Change::SecretsGenerated { values } => {
                for (name, value) in values {
                    self.store(name, value, position);
                }
            }
            Change::ActivationCounted { marble_type, count } => {
                self.activations.insert(Arc::clone(marble_type), *count);
            }
            Change::SecretsWritten { values, .. } => {
                for (name, value) in values {
                    match value {
                        Some(value) => self.store(name, value, position),
                        None => drop(self.secrets.remove(name)),
                    }
                }
            }
            Change::PackagesRaised { versions, .. } => {
                self.manifest_generation = self.manifest_generation.saturating_add(1);
                self.raised.extend(versions.iter().cloned());
            }
            Change::UpdateProposed { user, votes, raw, .. } => {
                let mut pending = PendingUpdate::new(position, Arc::clone(raw));
                if *votes {
                    pending.acknowledged.insert(Arc::clone(user));
                }
                self.pending = Some(pending);
            }
            Change::UpdateAcknowledged { user, .. } => {
                if let Some(pending) = &mut self.pending {
                    pending.acknowledged.insert(Arc::clone(user));
                }
            }
            Change::UpdateCancelled { .. } | Change::UpdateDropped { .. } => self.pending = None,
            Change::UpdateApplied {
                manifest,
                signature,
                dropped,
                previous,
                ..
            } => {
                self.manifest = Arc::clone(manifest);
                self.signature = Arc::clone(signature);
                self.manifest_generation = self.manifest_generation.saturating_add(1);
                self.raised = OrdMap::new();
                self.pending = None;
                for name in dropped {
                    self.secrets.remove(name);
                    self.previous.remove(name);
                }
                self.previous.extend(previous.iter().cloned());
            }
            Change::CounterRaised {
                marble_type,
                uuid,
                name,
                value,
            } => self.raise_counter((Arc::clone(marble_type), *uuid), name, *value),
        }
    }

    fn store(&mut self, name: &Name, value: &Arc<SecretValue>, version: u64) {
        let stored = StoredSecret {
            value: Arc::clone(value),
            version,
        };
        self.secrets.insert(Arc::clone(name), stored);
    }

    /// Sets a counter and keeps the counts.
    pub(crate) fn raise_counter(&mut self, owner: (Name, Uuid), name: &Name, value: u64) {
        let marble_type = Arc::clone(&owner.0);
        let counters = self.counters.entry(owner).or_default();
        if counters.insert(Arc::clone(name), value).is_none() {
            self.counter_count = self.counter_count.saturating_add(1);
            let of_type = self.type_counter_counts.entry(marble_type).or_default();
            *of_type = of_type.saturating_add(1);
        }
    }

    /// Adds a line to the update log.
    pub(crate) fn log(&mut self, line: Arc<str>) {
        let entry = LogEntry::after(self.update_log.last(), line);
        self.update_log.push_back(entry);
    }
}
