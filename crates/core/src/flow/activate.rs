//! Activating a marble (`docs/flows/activate.md`): the steps of `spec/04`, in their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use marblerun_attestation::Admission;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::ambient::Ambient;
use crate::appraisal;
use crate::change::Change;
use crate::decision::{Decision, Prepared, Verdict};
use crate::manifest::{Content, Manifest, Marble, Name};
use crate::marble_environment;
use crate::phase::Phase;
use crate::pki::marble::{self, MarbleIdentity};
use crate::pki::request::{self, Csr};
use crate::refusal::{Refusal, RefusalKind};
use crate::secret::value::{SecretBytes, SecretValue};
use crate::secret::{derive, generate};
use crate::state::{Deployment, PreviousSecret, State};
use crate::template::{self, TemplateError};

/// What a marble asks with.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The marble type.
    pub marble_type: &'a str,
    /// The marble's UUID as it wrote it.
    pub uuid: &'a str,
    /// A PKCS#10 request, DER.
    pub csr: &'a [u8],
    /// By what its evidence is admitted.
    pub admission: &'a Admission,
}

/// A marble ready to start, not handed out before the decision.
pub struct Activation {
    marble_type: Name,
    uuid: Uuid,
    parameters: Arc<Parameters>,
}

impl Activation {
    /// What the marble would start with.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// What a marble starts with.
pub struct Parameters {
    /// Path to content.
    pub files: BTreeMap<Name, Zeroizing<Vec<u8>>>,
    /// Variable to value.
    pub env: BTreeMap<Name, Zeroizing<Vec<u8>>>,
    /// The arguments, the first is `argv[0]`; empty: the marble's own.
    pub argv: Vec<String>,
}

/// The reply of an activation.
#[derive(Clone)]
pub struct Activated {
    /// What the marble starts with.
    pub parameters: Arc<Parameters>,
    /// The marble type, known to the manifest.
    pub marble_type: Name,
    /// The marble's UUID.
    pub uuid: Uuid,
}

/// Step 1, and the first half of step 3: may a marble of this type come at all?
///
/// To be asked before evidence is verified, which costs time.
///
/// # Errors
/// `WrongPhase`, or `Denied` for an unknown type.
pub fn examine(state: &State, marble_type: &str) -> Result<(), Refusal> {
    known_marble(state, marble_type).map(|_| ())
}

/// Steps 3 to 6: compliance, identity, budget, certificate, secrets, templates.
///
/// Takes as long as the keys it has to make.
///
/// # Errors
/// `WrongPhase`, `Denied` (type, evidence, budget), `Invalid` (UUID, CSR), `Internal` (a template or a missing
/// secret, by name).
pub fn prepare(
    state: &State,
    request: Request<'_>,
    ambient: &Ambient<'_>,
) -> Result<Prepared<Activation>, Refusal> {
    let (deployment, marble_type, marble) = known_marble(state, request.marble_type)?;
    appraisal::comply(
        &deployment.manifest,
        &deployment.raised,
        marble,
        request.admission,
    )
    .map_err(|reason| denied(format_args!("{reason}")))?;
    let uuid = parse_uuid(request.uuid)?;
    let csr = request::parse(request.csr)
        .map_err(|error| Refusal::new(RefusalKind::Invalid, format!("invalid CSR: {error}")))?;
    check_budget(deployment, marble_type, marble)?;

    let instance = Instance {
        state,
        deployment,
        marble_type,
        marble,
        uuid,
    };
    let (parameters, secret_versions) = instance.provision(&csr, ambient)?;
    Ok(Prepared {
        manifest_generation: deployment.manifest_generation,
        secret_versions,
        value: Activation {
            marble_type: Arc::clone(marble_type),
            uuid,
            parameters: Arc::new(parameters),
        },
    })
}

/// Step 5 again, and step 7: spends the budget, if the type has one.
///
/// Without a budget there is nothing to keep, and the decision may be taken on any snapshot.
///
/// # Errors
/// `WrongPhase`, or `Denied` when the budget is spent.
pub fn decide(state: &State, prepared: &Prepared<Activation>) -> Result<Verdict<Activated>, Refusal> {
    let activation = &prepared.value;
    let (deployment, marble_type, marble) = known_marble(state, &activation.marble_type)?;
    if !prepared.holds_on(state) {
        return Ok(Verdict::Stale);
    }
    check_budget(deployment, marble_type, marble)?;
    let changes = if marble.max_activations == 0 {
        Vec::new()
    } else {
        let count = state.activations(marble_type).saturating_add(1);
        vec![Change::ActivationCounted {
            marble_type: Arc::clone(marble_type),
            count,
        }]
    };
    Ok(Verdict::Decided(Decision {
        changes,
        reply: Activated {
            parameters: Arc::clone(&activation.parameters),
            marble_type: Arc::clone(&activation.marble_type),
            uuid: activation.uuid,
        },
    }))
}

fn known_marble<'s>(
    state: &'s State,
    marble_type: &str,
) -> Result<(&'s Deployment, &'s Name, &'s Marble), Refusal> {
    let (Phase::AcceptingMarbles, Some(deployment)) = (state.phase(), &state.deployment) else {
        return Err(Refusal::new(
            RefusalKind::WrongPhase,
            "cannot accept marbles in current state",
        ));
    };
    let (name, marble) = deployment
        .manifest
        .marbles
        .get_key_value(marble_type)
        .ok_or_else(|| {
            // What a stranger sends is repeated to him, but not at any length.
            let requested: String = marble_type.chars().take(100).collect();
            denied(format_args!(
                "unknown marble type requested: {requested:?} is not in the manifest's Marbles"
            ))
        })?;
    Ok((deployment, name, marble))
}

fn check_budget(deployment: &Deployment, marble_type: &Name, marble: &Marble) -> Result<(), Refusal> {
    let spent = deployment.activations.get(marble_type).copied().unwrap_or(0);
    if marble.max_activations != 0 && spent >= marble.max_activations {
        return Err(denied(format_args!(
            "reached max activations count ({}) for marble type {marble_type:?}",
            marble.max_activations
        )));
    }
    Ok(())
}

fn denied(reason: std::fmt::Arguments<'_>) -> Refusal {
    Refusal::new(
        RefusalKind::Denied,
        format!("marble verification failed: {reason}"),
    )
}

fn parse_uuid(text: &str) -> Result<Uuid, Refusal> {
    let invalid = |reason: &str| Refusal::new(RefusalKind::Invalid, format!("invalid UUID: {reason}"));
    let uuid = Uuid::try_parse(text).map_err(|_| {
        invalid("expected 36 characters like 11111111-2222-4333-8444-555555555555, also behind urn:uuid:, in braces, or as 32 hex digits")
    })?;
    if uuid.is_nil() {
        return Err(invalid("the nil UUID names no marble"));
    }
    Ok(uuid)
}

/// One marble instance being provisioned from one snapshot.
struct Instance<'s> {
    state: &'s State,
    deployment: &'s Deployment,
    marble_type: &'s Name,
    marble: &'s Marble,
    uuid: Uuid,
}

/// Names and versions of the stored secrets that were used.
type SecretVersions = Vec<(Name, u64)>;

impl Instance<'_> {
    fn provision(&self, csr: &Csr, ambient: &Ambient<'_>) -> Result<(Parameters, SecretVersions), Refusal> {
        let authority = &self.state.authority;
        let identity = marble::issue(authority, csr, self.uuid, self.marble_type, ambient)?;
        let references = &self.marble.references;

        let mut secrets = BTreeMap::new();
        let mut versions = Vec::new();
        for name in references.secrets.iter().chain(&references.previous) {
            if secrets.contains_key(name) {
                continue;
            }
            versions.push((Arc::clone(name), self.state.secret_version(name)));
            if let Some(value) = self.current(name, ambient)? {
                secrets.insert(Arc::clone(name), value);
            }
        }
        let mut previous = BTreeMap::new();
        for name in &references.previous {
            if let Some(value) = self.previous(name, secrets.get(name)) {
                previous.insert(Arc::clone(name), value);
            }
        }
        let seal_key = references
            .seal_key
            .then(|| derive::sealing_key(&self.state.root_secret, self.uuid));

        let data = template::Data {
            specs: &self.manifest().secrets,
            secrets: &secrets,
            previous: &previous,
            root_ca: &authority.marble_root,
            coordinator_root: &authority.root,
            coordinator_intermediate: &authority.intermediate,
            marble_certificate: &identity.certificate,
            marble_key: &identity.key,
            seal_key: seal_key.as_ref(),
        };
        let files = self.render("file", &self.marble.files, &data)?;
        let mut env = self.render("env variable", &self.marble.env, &data)?;
        self.add_predefined(&mut env, &identity, &secrets)?;
        Ok((
            Parameters {
                files,
                env,
                argv: self.marble.argv.clone(),
            },
            versions,
        ))
    }

    fn manifest(&self) -> &Manifest {
        &self.deployment.manifest
    }

    /// The current value: stored, derived or fresh; `None` for a user-defined secret without a value.
    fn current(&self, name: &Name, ambient: &Ambient<'_>) -> Result<Option<SecretValue>, Refusal> {
        let Some(spec) = self.manifest().secrets.get(name) else {
            return Ok(None);
        };
        if !spec.is_private() {
            return Ok(self
                .deployment
                .secrets
                .get(name)
                .map(|stored| SecretValue::clone(&stored.value)));
        }
        if let Some(key) = self.derived(name, &self.state.root_secret) {
            return Ok(Some(key));
        }
        Ok(Some(generate::generate(spec, &self.state.authority, ambient)?))
    }

    /// The value of `.Previous` (`spec/02`, "Previous values"): user-defined secrets have none.
    fn previous(&self, name: &Name, current: Option<&SecretValue>) -> Option<SecretValue> {
        if self.manifest().secrets.get(name)?.user_defined {
            return None;
        }
        match self.deployment.previous.get(name) {
            Some(PreviousSecret::Value(value)) => Some(SecretValue::clone(value)),
            Some(PreviousSecret::RootSecret(root_secret)) => self.derived(name, root_secret),
            None => current.cloned(),
        }
    }

    /// A private symmetric key of this instance; `None` for secrets of other types.
    fn derived(&self, name: &Name, root_secret: &SecretBytes) -> Option<SecretValue> {
        let length = self.manifest().secrets.get(name)?.symmetric_length()?;
        let bound_to = (!self.marble.disable_secret_binding).then_some(&**self.marble_type);
        Some(SecretValue::Symmetric(derive::private_key(
            root_secret,
            self.uuid,
            name,
            bound_to,
            length,
        )))
    }

    fn render(
        &self,
        what: &str,
        contents: &BTreeMap<Name, Content>,
        data: &template::Data<'_>,
    ) -> Result<BTreeMap<Name, Zeroizing<Vec<u8>>>, Refusal> {
        let render_one = |(name, content): (&Name, &Content)| {
            let bytes = match content {
                Content::Verbatim(bytes) => Zeroizing::new(bytes.to_vec()),
                Content::Template(template) => template::render(template, data)
                    .map_err(|error| self.refuse_template(what, name, &error))?,
            };
            Ok((Arc::clone(name), bytes))
        };
        contents.iter().map(render_one).collect()
    }

    fn refuse_template(&self, what: &str, name: &str, error: &TemplateError) -> Refusal {
        let message = format!(
            "customizing marble parameters: in Marble {}: {what} {name:?}: template {error}",
            self.marble_type
        );
        Refusal::new(RefusalKind::Internal, message)
    }

    fn add_predefined(
        &self,
        env: &mut BTreeMap<Name, Zeroizing<Vec<u8>>>,
        identity: &MarbleIdentity,
        secrets: &BTreeMap<Name, SecretValue>,
    ) -> Result<(), Refusal> {
        env.extend(marble_environment::predefined(&self.state.authority, identity));
        if !self.marble.tls.is_empty() {
            let tags = self
                .marble
                .tls
                .iter()
                .filter_map(|tag| self.manifest().tls.get(tag));
            let config = marble_environment::transparent_tls(&self.state.authority, identity, tags, secrets)
                .map_err(|missing| {
                    Refusal::new(
                        RefusalKind::Internal,
                        format!(
                            "customizing marble parameters: in Marble {}: {missing}",
                            self.marble_type
                        ),
                    )
                })?;
            env.insert(marble_environment::TRANSPARENT_TLS.into(), config);
        }
        Ok(())
    }
}
