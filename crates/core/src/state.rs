//! The state of a Coordinator: the fold of its changes.
//!
//! [`State::apply`] is the only way it ever changes. Collections share structure, so a new state costs what
//! changed, and a snapshot stays valid for whoever reads it.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::change::Change;
use crate::manifest::{Manifest, Name};
use crate::phase::Phase;
use crate::pki::authority::Authority;
use crate::recovery::RecoveryPlan;
use crate::sealed::DataKey;
use crate::secret::value::{SecretBytes, SecretValue};
use crate::update_log;

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
    /// Activations counted so far, by marble type.
    pub(crate) activations: OrdMap<Name, u64>,
    /// The update log: one JSON object each, in order.
    pub(crate) update_log: Vector<Arc<str>>,
}

/// A stored value with its version: the position of the change that wrote it.
#[derive(Clone)]
pub(crate) struct StoredSecret {
    pub(crate) value: Arc<SecretValue>,
    pub(crate) version: u64,
}

/// What `.Previous` of a secret rests on.
#[derive(Clone)]
pub(crate) enum PreviousSecret {
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
        if let Change::ManifestSet {
            manifest, signature, ..
        } = change
        {
            self.recovering = false;
            self.deployment = Some(Deployment::begin(Arc::clone(manifest), Arc::clone(signature)));
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
            update_log: Vector::new(),
        }
    }

    fn apply(&mut self, position: u64, change: &Change) {
        self.update_log.extend(update_log::lines(change));
        match change {
            Change::ManifestSet { .. } => {}
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
                    let stored = StoredSecret {
                        value: Arc::clone(value),
                        version: position,
                    };
                    self.secrets.insert(Arc::clone(name), stored);
                }
            }
            Change::ActivationCounted { marble_type, count } => {
                self.activations.insert(Arc::clone(marble_type), *count);
            }
        }
    }
}
