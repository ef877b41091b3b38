//! Permits: proof that the manifest in force allows a caller what he wants.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::user::Caller;
use crate::manifest::{Manifest, Name, Role};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{Deployment, State};

/// A caller may do what `P` says, in the state this borrows from. Only the checks of this file make one.
pub(crate) struct Permit<'s, P> {
    deployment: &'s Deployment,
    caller: Name,
    votes: bool,
    granted: P,
}

/// May read the values of these secrets.
pub(crate) struct ReadSecrets(BTreeSet<Name>);

/// May write the values of these secrets.
pub(crate) struct WriteSecrets(BTreeSet<Name>);

/// May raise the security versions of these packages.
pub(crate) struct RaisePackages(BTreeSet<Name>);

/// May propose, acknowledge and cancel updates of the manifest.
pub(crate) struct UpdateManifest(());

impl<'s, P> Permit<'s, P> {
    /// What is deployed in the state the permit was checked on.
    pub(crate) fn deployment(&self) -> &'s Deployment {
        self.deployment
    }

    /// Who has it, as the update log names him.
    pub(crate) fn caller(&self) -> &Name {
        &self.caller
    }

    /// Whether his acknowledgement of an update counts: that of a user does, that of a marble does not. A type of
    /// marbles has as many instances as somebody starts, so their number says nothing about how many parties agree.
    pub(crate) fn votes(&self) -> bool {
        self.votes
    }

    fn new(deployment: &'s Deployment, caller: &Caller, granted: P) -> Self {
        Self {
            deployment,
            caller: caller.name(),
            votes: matches!(caller, Caller::User { .. }),
            granted,
        }
    }
}

impl<'s> Permit<'s, ReadSecrets> {
    /// `ReadSecret` on every name, or nothing.
    ///
    /// # Errors
    /// `Denied` with all names asked for; `WrongPhase`.
    pub(crate) fn read_secrets(state: &'s State, caller: &Caller, names: &[Name]) -> Result<Self, Refusal> {
        let deployment = state.deployed()?;
        let may =
            |name: &Name, role: &Role| matches!(role, Role::Secrets { read, .. } if read.contains(name));
        match all_granted(&deployment.manifest, caller, names, may) {
            Ok(granted) => Ok(Self::new(deployment, caller, ReadSecrets(granted))),
            Err(_) => Err(denied(
                caller,
                &format!("read one or more secrets of: [{}]", names.join(" ")),
            )),
        }
    }

    /// The names it is for.
    pub(crate) fn names(&self) -> &BTreeSet<Name> {
        &self.granted.0
    }
}

impl<'s> Permit<'s, WriteSecrets> {
    /// `WriteSecret` on every name, or nothing.
    ///
    /// # Errors
    /// `Denied` with the first name that lacks it; `WrongPhase`.
    pub(crate) fn write_secrets(state: &'s State, caller: &Caller, names: &[Name]) -> Result<Self, Refusal> {
        let deployment = state.deployed()?;
        let may =
            |name: &Name, role: &Role| matches!(role, Role::Secrets { write, .. } if write.contains(name));
        match all_granted(&deployment.manifest, caller, names, may) {
            Ok(granted) => Ok(Self::new(deployment, caller, WriteSecrets(granted))),
            Err(missing) => Err(denied(caller, &format!("update secret: {missing}"))),
        }
    }

    /// Whether it is for this secret.
    pub(crate) fn covers(&self, name: &Name) -> bool {
        self.granted.0.contains(name)
    }
}

impl<'s> Permit<'s, RaisePackages> {
    /// `UpdateSecurityVersion` on every package, or nothing.
    ///
    /// # Errors
    /// `Denied` with all names; `WrongPhase`.
    pub(crate) fn raise_packages(state: &'s State, caller: &Caller, names: &[Name]) -> Result<Self, Refusal> {
        let deployment = state.deployed()?;
        let may = |name: &Name, role: &Role| matches!(role, Role::Packages { update_security_version } if update_security_version.contains(name));
        match all_granted(&deployment.manifest, caller, names, may) {
            Ok(granted) => Ok(Self::new(deployment, caller, RaisePackages(granted))),
            Err(_) => Err(denied(
                caller,
                &format!("update one or more packages of [{}]", names.join(" ")),
            )),
        }
    }

    /// Whether it is for this package.
    pub(crate) fn covers(&self, name: &Name) -> bool {
        self.granted.0.contains(name)
    }
}

impl<'s> Permit<'s, UpdateManifest> {
    /// `UpdateManifest`; `purpose` is what he wants to do with it, for the message.
    ///
    /// # Errors
    /// `Denied`; `WrongPhase`.
    pub(crate) fn update_manifest(state: &'s State, caller: &Caller, purpose: &str) -> Result<Self, Refusal> {
        let deployment = state.deployed()?;
        let may = |role: &Role| matches!(role, Role::Manifest { update: true });
        if roles(&deployment.manifest, caller).any(may) {
            Ok(Self::new(deployment, caller, UpdateManifest(())))
        } else {
            Err(denied(caller, purpose))
        }
    }
}

/// The users who may update a manifest, by name: those whose acknowledgements count.
pub(crate) fn updaters(manifest: &Manifest) -> impl Iterator<Item = &Name> {
    let may = |role: &Name| matches!(manifest.roles.get(role), Some(Role::Manifest { update: true }));
    manifest
        .users
        .iter()
        .filter(move |(_, user)| user.roles.iter().any(may))
        .map(|(name, _)| name)
}

fn roles<'m>(manifest: &'m Manifest, caller: &Caller) -> impl Iterator<Item = &'m Role> {
    let names = match caller {
        Caller::User { name } => manifest.users.get(name).map(|user| &user.roles),
        Caller::Marble { marble_type, .. } => manifest.marbles.get(marble_type).map(|marble| &marble.roles),
    };
    names
        .into_iter()
        .flatten()
        .filter_map(|name| manifest.roles.get(name))
}

/// All names, if some role of the caller permits each; else the first that none permits.
fn all_granted(
    manifest: &Manifest,
    caller: &Caller,
    names: &[Name],
    permits: impl Fn(&Name, &Role) -> bool,
) -> Result<BTreeSet<Name>, Name> {
    let roles: Vec<&Role> = roles(manifest, caller).collect();
    names
        .iter()
        .map(|name| {
            let granted = roles.iter().any(|role| permits(name, role));
            granted.then(|| Arc::clone(name)).ok_or_else(|| Arc::clone(name))
        })
        .collect()
}

fn denied(caller: &Caller, what: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Denied,
        format!("user {} is not allowed to {what}", caller.name()),
    )
}
