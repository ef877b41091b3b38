//! Raising the security versions of packages (`spec/05`, "Update rules"). The manifest stays as it was set; the
//! intermediate is renewed, so that marbles started before cannot authenticate to those started after.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::{Caller, Permit, RaisePackages};
use crate::ambient::{Ambient, CryptoFault};
use crate::change::Change;
use crate::decision::{Decision, Prepared, Verdict};
use crate::manifest::Name;
use crate::pki::authority::{self, Authority};
use crate::refusal::{Refusal, RefusalKind};
use crate::secret::generate;
use crate::secret::spec::{SecretKind, SecretSpec};
use crate::secret::value::SecretValue;
use crate::state::{Deployment, State};

/// Security versions to raise, with the renewed intermediate and what it issues.
pub struct RaisedPackages {
    caller: Caller,
    versions: BTreeMap<Name, u64>,
    renewed: Authority,
    certificates: Vec<(Name, Arc<SecretValue>)>,
}

/// Prepares raising the packages of a document that [`package_update`](crate::manifest::package_update) read, for
/// a caller that was recognised on the same state.
///
/// # Errors
/// `Denied` unless the caller has `UpdateSecurityVersion` on every package; `Conflict` while an update of the
/// manifest is pending; `Invalid` for a package that has no security version, or for one lower than it has.
pub fn prepare(
    state: &State,
    caller: Caller,
    versions: BTreeMap<Name, u64>,
    ambient: &Ambient<'_>,
) -> Result<Prepared<RaisedPackages>, Refusal> {
    let permit = permit(state, &caller, &versions)?;
    let deployment = permit.deployment();
    let renewed = authority::renew_intermediate(&state.authority, ambient)?;
    let certificates = issue_certificates(&deployment.manifest.secrets, &renewed, ambient)?;
    Ok(Prepared {
        manifest_generation: deployment.manifest_generation,
        secret_versions: Vec::new(),
        value: RaisedPackages {
            caller,
            versions,
            renewed,
            certificates,
        },
    })
}

/// Raises them. One entry of the update log for each package named, also where the version is the one it has.
///
/// # Errors
/// As [`prepare`], where the state has changed.
pub fn decide(
    state: &State,
    prepared: &Prepared<RaisedPackages>,
    ambient: &Ambient<'_>,
) -> Result<Verdict<()>, Refusal> {
    if !prepared.holds_on(state) {
        return Ok(Verdict::Stale);
    }
    let raised = &prepared.value;
    let permit = permit(state, &raised.caller, &raised.versions)?;
    let mut changes = vec![
        versions_raised(&permit, raised, ambient),
        renewal(&raised.renewed),
    ];
    if !raised.certificates.is_empty() {
        changes.push(Change::SecretsGenerated {
            values: raised.certificates.clone(),
        });
    }
    Ok(Verdict::Decided(Decision { changes, reply: () }))
}

fn versions_raised(
    permit: &Permit<'_, RaisePackages>,
    raised: &RaisedPackages,
    ambient: &Ambient<'_>,
) -> Change {
    let versions = raised.versions.iter().filter(|(name, _)| permit.covers(name));
    Change::PackagesRaised {
        at: ambient.now,
        user: Arc::clone(permit.caller()),
        versions: versions
            .map(|(name, version)| (Arc::clone(name), *version))
            .collect(),
    }
}

/// The change that puts a renewed intermediate in force.
pub(super) fn renewal(renewed: &Authority) -> Change {
    Change::IntermediateRenewed {
        intermediate: Arc::clone(&renewed.intermediate),
        marble_root: Arc::clone(&renewed.marble_root),
        key: renewed.intermediate_key.clone(),
    }
}

/// Shared certificates that the Coordinator generates, each with a fresh key, under this authority.
pub(super) fn issue_certificates(
    specs: &BTreeMap<Name, SecretSpec>,
    authority: &Authority,
    ambient: &Ambient<'_>,
) -> Result<Vec<(Name, Arc<SecretValue>)>, CryptoFault> {
    let is_issued = |spec: &SecretSpec| {
        spec.shared && !spec.user_defined && matches!(spec.kind, SecretKind::Certificate { .. })
    };
    specs
        .iter()
        .filter(|(_, spec)| is_issued(spec))
        .map(|(name, spec)| {
            let value = generate::generate(spec, authority, ambient)?;
            Ok((Arc::clone(name), Arc::new(value)))
        })
        .collect()
}

fn permit<'s>(
    state: &'s State,
    caller: &Caller,
    versions: &BTreeMap<Name, u64>,
) -> Result<Permit<'s, RaisePackages>, Refusal> {
    let names: Vec<Name> = versions.keys().cloned().collect();
    let permit = Permit::raise_packages(state, caller, &names)?;
    let deployment = permit.deployment();
    super::update_manifest::check_none_pending(deployment)?;
    versions
        .iter()
        .try_for_each(|(name, version)| check_version(deployment, name, *version))?;
    Ok(permit)
}

fn check_version(deployment: &Deployment, name: &str, version: u64) -> Result<(), Refusal> {
    let invalid = |reason: String| {
        Refusal::new(
            RefusalKind::Invalid,
            format!("checking update manifest: {reason}"),
        )
    };
    match deployment.security_version(name) {
        None => Err(invalid(format!(
            "Packages.{name}: this package has no SecurityVersion that could be raised"
        ))),
        Some(present) if version < present => Err(invalid(format!(
            "update manifest tries to downgrade SecurityVersion of the original manifest: Packages.{name} has \
             {present}, found {version}"
        ))),
        Some(_) => Ok(()),
    }
}
