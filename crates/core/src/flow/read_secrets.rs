//! Reading the values of secrets (`spec/02`, "Reading, writing"). Nothing changes, so no decision is needed: the
//! published state answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::{Caller, Permit, ReadSecrets, recognise};
use crate::manifest::Name;
use crate::refusal::{Refusal, RefusalKind};
use crate::secret::spec::SecretSpec;
use crate::secret::value::{SecretBytes, SecretValue};
use crate::state::State;

/// The secrets a caller asked for.
pub struct SecretsRead {
    /// Who asked, for the log.
    pub caller: Caller,
    /// The secrets by name.
    pub secrets: BTreeMap<Name, SecretView>,
}

/// A secret as the client API shows it: its definition, and its value if it has one.
pub struct SecretView {
    /// `Type`
    pub secret_type: &'static str,
    /// `Size`, in bits.
    pub size: u64,
    /// `Shared`
    pub shared: bool,
    /// `UserDefined`
    pub user_defined: bool,
    /// `ValidFor`, in days.
    pub valid_for: u64,
    value: Option<Arc<SecretValue>>,
}

impl SecretView {
    /// `Cert`: DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        match self.value.as_deref()? {
            SecretValue::Certificate(value) => Some(&value.certificate),
            SecretValue::Symmetric(_) | SecretValue::Plain(_) => None,
        }
    }

    /// `Private`: the value itself, or the private key of a certificate (PKCS#8 DER). Secret.
    pub fn private(&self) -> Option<&[u8]> {
        match self.value.as_deref()? {
            SecretValue::Symmetric(bytes) | SecretValue::Plain(bytes) => Some(bytes.expose()),
            SecretValue::Certificate(value) => value.private.as_ref().map(SecretBytes::expose),
        }
    }

    /// `Public`: the value itself, which is secret, or the public key of a certificate (PKIX DER).
    pub fn public(&self) -> Option<&[u8]> {
        match self.value.as_deref()? {
            SecretValue::Symmetric(bytes) | SecretValue::Plain(bytes) => Some(bytes.expose()),
            SecretValue::Certificate(value) => Some(&value.public),
        }
    }

    fn of(spec: &SecretSpec, value: Option<Arc<SecretValue>>) -> Self {
        Self {
            secret_type: spec.type_name(),
            size: spec.size,
            shared: spec.shared,
            user_defined: spec.user_defined,
            valid_for: spec.valid_for,
            value,
        }
    }
}

/// Reads secrets: all of them, or none. `leaf` is the caller's certificate, DER.
///
/// # Errors
/// `Unauthenticated`; `Malformed` without names or with an empty one; `Denied` unless the caller has `ReadSecret`
/// on every name.
pub fn read(state: &State, leaf: Option<&[u8]>, names: &[Name]) -> Result<SecretsRead, Refusal> {
    let caller = recognise(state, leaf)?;
    let malformed = |message| Refusal::new(RefusalKind::Malformed, message);
    if names.is_empty() {
        return Err(malformed(
            "invalid query: endpoint requires at least one query parameter",
        ));
    }
    if names.iter().any(|name| name.is_empty()) {
        return Err(malformed("malformed query string: empty query parameter"));
    }
    let permit = Permit::read_secrets(state, &caller, names)?;
    let secrets = permitted(&permit);
    Ok(SecretsRead { caller, secrets })
}

fn permitted(permit: &Permit<'_, ReadSecrets>) -> BTreeMap<Name, SecretView> {
    let deployment = permit.deployment();
    let view = |name: &Name| {
        let spec = deployment.manifest.secrets.get(name)?;
        let value = deployment
            .secrets
            .get(name)
            .map(|stored| Arc::clone(&stored.value));
        Some((Arc::clone(name), SecretView::of(spec, value)))
    };
    permit.names().iter().filter_map(view).collect()
}
