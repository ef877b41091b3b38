//! Writing the values of user-defined secrets (`spec/02`, "Reading, writing"): all that is sent, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rehearsal::Rehearsal;
use crate::access::{Caller, Permit, WriteSecrets, recognise};
use crate::ambient::Ambient;
use crate::change::Change;
use crate::decision::{Decision, Prepared, Verdict};
use crate::manifest::Name;
use crate::refusal::{Refusal, RefusalKind};
use crate::secret::upload::{self, Upload};
use crate::secret::value::SecretValue;
use crate::state::{Deployment, State};

/// Checked values, not written before the decision.
pub struct CheckedValues {
    caller: Caller,
    values: Vec<(Name, Option<Arc<SecretValue>>)>,
    warnings: Vec<String>,
}

/// What the one who writes is told.
#[derive(Debug, Clone)]
pub struct SecretsWritten {
    /// Who wrote, for the log.
    pub caller: Caller,
    /// What the operator should know, for the log.
    pub warnings: Vec<String>,
}

/// Checks values against their definitions, and the templates that refer to them with the new values. `leaf` is
/// the caller's certificate, DER.
///
/// # Errors
/// `Unauthenticated`; `Invalid` for a secret that does not exist or is not user-defined, a value that does not fit,
/// or a template that cannot be rendered with it; `Denied` unless the caller has `WriteSecret` on every name.
pub fn prepare(
    state: &State,
    leaf: Option<&[u8]>,
    uploads: &BTreeMap<Name, Upload>,
) -> Result<Prepared<CheckedValues>, Refusal> {
    let caller = recognise(state, leaf)?;
    let deployment = state.deployed()?;
    let names: Vec<Name> = uploads.keys().cloned().collect();
    for name in &names {
        check_writable(deployment, name)?;
    }
    Permit::write_secrets(state, &caller, &names)?;

    let (mut values, mut warnings) = (Vec::new(), Vec::new());
    for (name, upload) in uploads {
        let Some(spec) = deployment.manifest.secrets.get(name) else {
            continue;
        };
        let accepted = upload::accept(name, spec, upload).map_err(|error| refuse(&error.to_string()))?;
        warnings.extend(accepted.warning);
        values.push((Arc::clone(name), accepted.value.map(Arc::new)));
    }
    let mut rehearsal = Rehearsal::of(state, deployment);
    for (name, value) in &values {
        rehearsal.change(name, value.clone());
    }
    rehearsal.run()?;
    Ok(Prepared {
        manifest_generation: state.manifest_generation(),
        secret_versions: Vec::new(),
        value: CheckedValues {
            caller,
            values,
            warnings,
        },
    })
}

/// Writes them. Other values may have been written since: the last one stays.
///
/// # Errors
/// As [`prepare`], where the state has changed.
pub fn decide(
    state: &State,
    prepared: &Prepared<CheckedValues>,
    ambient: &Ambient<'_>,
) -> Result<Verdict<SecretsWritten>, Refusal> {
    if !prepared.holds_on(state) {
        return Ok(Verdict::Stale);
    }
    let checked = &prepared.value;
    let names: Vec<Name> = checked.values.iter().map(|(name, _)| Arc::clone(name)).collect();
    let permit = Permit::write_secrets(state, &checked.caller, &names)?;
    Ok(Verdict::Decided(Decision {
        changes: written(&permit, checked, ambient),
        reply: SecretsWritten {
            caller: checked.caller.clone(),
            warnings: checked.warnings.clone(),
        },
    }))
}

fn written(permit: &Permit<'_, WriteSecrets>, checked: &CheckedValues, ambient: &Ambient<'_>) -> Vec<Change> {
    let values: Vec<_> = checked
        .values
        .iter()
        .filter(|(name, _)| permit.covers(name))
        .cloned()
        .collect();
    if values.is_empty() {
        return Vec::new();
    }
    vec![Change::SecretsWritten {
        at: ambient.now,
        user: Arc::clone(permit.caller()),
        values,
    }]
}

fn check_writable(deployment: &Deployment, name: &str) -> Result<(), Refusal> {
    match deployment.manifest.secrets.get(name) {
        None => Err(refuse(&format!("the manifest does not define a secret {name}"))),
        Some(spec) if !spec.user_defined => Err(refuse(&format!("secret {name} is not writeable"))),
        Some(_) => Ok(()),
    }
}

fn refuse(reason: &str) -> Refusal {
    Refusal::new(RefusalKind::Invalid, format!("parsing new secrets: {reason}"))
}
