//! Renders templates with values they would be given at an activation, without activating anything, to find what
//! depends on values: a NUL byte that `string` would meet (`spec/02`, "Templates").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::manifest::template_index::Place;
use crate::manifest::{Manifest, Marble, Name};
use crate::pki::authority::Authority;
use crate::refusal::{Refusal, RefusalKind};
use crate::secret::derive;
use crate::secret::spec::SecretKind;
use crate::secret::value::{CertificateValue, SecretBytes, SecretValue};
use crate::state::{Deployment, State};
use crate::template::{self, References, Template, TemplateError};

/// Length of what stands for a value there is none of yet: longer than any key.
const STAND_IN: usize = 8192;

/// Values to rehearse with, and which of them are the reason for it.
pub(super) struct Rehearsal<'a> {
    manifest: &'a Manifest,
    authority: &'a Authority,
    values: BTreeMap<Name, Arc<SecretValue>>,
    stored: Option<&'a Deployment>,
    changed: BTreeSet<Name>,
}

/// Values for one template, and whether some of them only stand in for others.
struct Values {
    secrets: BTreeMap<Name, SecretValue>,
    stand_ins: bool,
}

impl<'a> Rehearsal<'a> {
    /// With the manifest in force and its stored values.
    pub(super) fn of(state: &'a State, deployment: &'a Deployment) -> Self {
        Self {
            manifest: &deployment.manifest,
            authority: &state.authority,
            values: BTreeMap::new(),
            stored: Some(deployment),
            changed: BTreeSet::new(),
        }
    }

    /// With a manifest that is not in force and no values but those that follow.
    pub(super) fn of_new(manifest: &'a Manifest, authority: &'a Authority) -> Self {
        Self {
            manifest,
            authority,
            values: BTreeMap::new(),
            stored: None,
            changed: BTreeSet::new(),
        }
    }

    /// Gives a user-defined secret a value, or none. Templates that refer to it are rehearsed.
    pub(super) fn change(&mut self, name: &Name, value: Option<Arc<SecretValue>>) {
        self.changed.insert(Arc::clone(name));
        if let Some(value) = value {
            self.values.insert(Arc::clone(name), value);
        }
    }

    /// Renders each template that refers to a changed secret, once.
    ///
    /// That another value is missing is no objection, nor is anything that may come from a value standing in.
    ///
    /// # Errors
    /// `Invalid`, naming the marble and the file or variable.
    pub(super) fn run(&self) -> Result<(), Refusal> {
        let index = &self.manifest.template_index;
        let places: BTreeSet<&Place> = self
            .changed
            .iter()
            .flat_map(|name| index.templates_with(name))
            .collect();
        for place in places {
            let Some((template, marble)) = place.find(&self.manifest.marbles) else {
                continue;
            };
            self.render(template, &place.marble_type, marble)
                .map_err(|error| {
                    let message = format!(
                        "running manifest template dry run: in Marble {}: {} {}: template {error}",
                        place.marble_type,
                        place.part.entry(),
                        place.name
                    );
                    Refusal::new(RefusalKind::Invalid, message)
                })?;
        }
        Ok(())
    }

    fn render(&self, template: &Template, marble_type: &str, marble: &Marble) -> Result<(), TemplateError> {
        let bound_to = (!marble.disable_secret_binding).then_some(marble_type);
        let references = template.references();
        let mut values = self.values(references, bound_to);
        let mut outcome = self.render_with(template, &values);
        if outcome.as_ref().is_err_and(|error| error.empty_secret.is_some()) {
            // What comes behind the missing value is looked at all the same.
            self.fill_up(references, &mut values);
            outcome = self.render_with(template, &values);
        }
        match outcome {
            Err(error)
                if error
                    .nul_secret
                    .as_ref()
                    .is_some_and(|name| self.changed.contains(name)) =>
            {
                Err(error)
            }
            Err(error) if error.empty_secret.is_none() && error.nul_secret.is_none() && !values.stand_ins => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn render_with(&self, template: &Template, values: &Values) -> Result<(), TemplateError> {
        let seal_key = SecretBytes::fill_with(derive::SEALING_KEY, |bytes| bytes.fill(1));
        let specs = &self.manifest.secrets;
        let is_generated = |name: &Name| specs.get(name).is_some_and(|spec| !spec.user_defined);
        let previous = values
            .secrets
            .iter()
            .filter(|(name, _)| is_generated(name))
            .map(|(name, value)| (Arc::clone(name), value.clone()))
            .collect();
        let data = template::Data {
            specs,
            secrets: &values.secrets,
            previous: &previous,
            root_ca: &self.authority.marble_root,
            coordinator_root: &self.authority.root,
            coordinator_intermediate: &self.authority.intermediate,
            marble_certificate: &self.authority.marble_root,
            marble_key: &self.authority.intermediate_key,
            seal_key: Some(&seal_key),
        };
        template::render(template, &data).map(drop)
    }

    /// Changed and stored values, derived keys, and something in the place of certificates that each activation
    /// makes anew.
    fn values(&self, references: &References, bound_to: Option<&str>) -> Values {
        let mut values = Values {
            secrets: BTreeMap::new(),
            stand_ins: false,
        };
        for name in references.secrets.iter().chain(&references.previous) {
            let Some(spec) = self.manifest.secrets.get(name) else {
                continue;
            };
            let stored = || Some(&self.stored?.secrets.get(name)?.value);
            let value = match self.values.get(name) {
                Some(value) => Some(SecretValue::clone(value)),
                None if self.changed.contains(name) => None,
                None => stored().map(|value| SecretValue::clone(value)),
            };
            let value = match (value, spec.symmetric_length()) {
                (None, Some(length)) if spec.is_private() => {
                    // The key itself does not matter, only that it looks like one.
                    let root_secret = SecretBytes::fill_with(32, |_| ());
                    let key = derive::private_key(&root_secret, Uuid::nil(), name, bound_to, length);
                    Some(SecretValue::Symmetric(key))
                }
                (None, _) if !spec.user_defined => {
                    values.stand_ins = true;
                    Some(stand_in(&spec.kind))
                }
                (value, _) => value,
            };
            if let Some(value) = value {
                values.secrets.insert(Arc::clone(name), value);
            }
        }
        values
    }

    /// Puts something in the place of every value that is still missing.
    fn fill_up(&self, references: &References, values: &mut Values) {
        for name in references.secrets.iter().chain(&references.previous) {
            if let Some(spec) = self.manifest.secrets.get(name)
                && !values.secrets.contains_key(name)
            {
                values.stand_ins = true;
                values.secrets.insert(Arc::clone(name), stand_in(&spec.kind));
            }
        }
    }
}

/// Bytes without NUL in the shape of a value.
fn stand_in(kind: &SecretKind) -> SecretValue {
    let bytes = |length| SecretBytes::fill_with(length, |bytes| bytes.fill(b'x'));
    match kind {
        SecretKind::Symmetric { length } => SecretValue::Symmetric(bytes(*length)),
        SecretKind::Plain => SecretValue::Plain(bytes(STAND_IN)),
        SecretKind::Certificate { .. } => SecretValue::Certificate(CertificateValue {
            certificate: bytes(STAND_IN).expose().into(),
            public: bytes(STAND_IN).expose().into(),
            private: Some(bytes(STAND_IN)),
        }),
    }
}
