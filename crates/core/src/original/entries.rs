//! The entries of a state as the original keeps them, made from a state of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::export::{Base64, Entries, ExportError};
use crate::ambient::Ambient;
use crate::manifest::{
    ContentAsWritten, Manifest, Marble, Package, ParametersAsWritten, Role, TlsTag, User,
    parameters_as_written,
};
use crate::pki::authority::Authority;
use crate::pki::key::PrivateKey;
use crate::secret::generate::generate;
use crate::secret::spec::SecretSpec;
use crate::secret::value::{SecretBytes, SecretValue};
use crate::secret_json;
use crate::state::{Deployment, PreviousSecret, State};

/// A value in the map of a set.
type Present = BTreeMap<Arc<str>, bool>;

/// All entries.
pub(super) fn of(
    state: &State,
    deployment: &Deployment,
    ambient: &Ambient<'_>,
) -> Result<Entries, ExportError> {
    let mut entries = Entries::new();
    let manifest = &deployment.manifest;
    authority(&state.authority, &mut entries)?;
    put(&mut entries, "state", super::content::ACCEPTING_MARBLES);
    put(&mut entries, "manifest", &manifest.raw);
    put(&mut entries, "manifestSignature", &deployment.signature);
    put(&mut entries, "rootSecret", state.root_secret.expose());
    put(&mut entries, "updateLog", update_log(deployment).as_bytes());
    for (marble_type, count) in &deployment.activations {
        put(
            &mut entries,
            &format!("activations:{marble_type}"),
            count.to_string().as_bytes(),
        );
    }
    for ((marble_type, uuid), counters) in &deployment.counters {
        let owner = format!("{}:{}", STANDARD.encode(&**marble_type), STANDARD.encode(uuid));
        for (name, value) in counters {
            let name = format!("monotonicCounter:{owner}:{}", STANDARD.encode(&**name));
            put(&mut entries, &name, &value.to_le_bytes());
        }
    }
    secrets(state, deployment, ambient, &mut entries)?;
    for (name, package) in &manifest.packages {
        let version = deployment.security_version(name);
        put_json(
            &mut entries,
            &format!("package:{name}"),
            &package_entry(package, version),
        )?;
    }
    for (name, tag) in &manifest.tls {
        put_json(&mut entries, &format!("TLS:{name}"), &tls_entry(tag))?;
    }
    for (name, user) in &manifest.users {
        put_json(
            &mut entries,
            &format!("user:{name}"),
            &user_entry(manifest, name, user),
        )?;
    }
    let mut parameters =
        parameters_as_written(manifest).map_err(|_| ExportError::Encoding("the parameters of marbles"))?;
    for (name, marble) in &manifest.marbles {
        let written = parameters
            .remove(name)
            .ok_or(ExportError::Encoding("the parameters of marbles"))?;
        put_json(
            &mut entries,
            &format!("marble:{name}"),
            &marble_entry(marble, &written),
        )?;
    }
    Ok(entries)
}

fn put(entries: &mut Entries, name: &str, value: &[u8]) {
    entries.insert(name.to_owned(), Zeroizing::new(value.to_vec()));
}

fn put_json(entries: &mut Entries, name: &str, value: &impl Serialize) -> Result<(), ExportError> {
    let json = secret_json::to_vec(value).map_err(|_| ExportError::Encoding("an entry"))?;
    entries.insert(name.to_owned(), json);
    Ok(())
}

fn authority(authority: &Authority, entries: &mut Entries) -> Result<(), ExportError> {
    for (name, der) in [
        ("certificate:coordinatorRootCert", &authority.root),
        ("certificate:coordinatorIntermediateCert", &authority.intermediate),
        ("certificate:marbleRootCert", &authority.marble_root),
    ] {
        put(entries, name, der);
    }
    for (name, key) in [
        ("privateKey:coordinatorRootKey", &authority.root_key),
        (
            "privateKey:coordinatorIntermediateKey",
            &authority.intermediate_key,
        ),
    ] {
        let der = PrivateKey::sec1(key).ok_or(ExportError::Encoding("a key of the Coordinator"))?;
        put(entries, name, der.expose());
    }
    Ok(())
}

fn update_log(deployment: &Deployment) -> String {
    let mut text = String::new();
    for entry in &deployment.update_log {
        text.push_str(&entry.line);
        text.push('\n');
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SecretEntry<'a> {
    r#type: &'static str,
    size: u64,
    shared: bool,
    user_defined: bool,
    cert: Option<Base64<'a>>,
    valid_for: u64,
    private: Option<Base64<'a>>,
    public: Option<Base64<'a>>,
}

impl<'a> SecretEntry<'a> {
    fn new(spec: &SecretSpec, value: Option<&'a SecretValue>) -> Self {
        let (cert, private, public) = match value {
            None => (None, None, None),
            Some(SecretValue::Symmetric(bytes) | SecretValue::Plain(bytes)) => {
                (None, Some(bytes.expose()), Some(bytes.expose()))
            }
            Some(SecretValue::Certificate(value)) => (
                Some(&*value.certificate),
                value.private.as_ref().map(SecretBytes::expose),
                Some(&*value.public),
            ),
        };
        Self {
            r#type: spec.type_name(),
            size: spec.size,
            shared: spec.shared,
            user_defined: spec.user_defined,
            cert: cert.map(Base64),
            valid_for: spec.valid_for,
            private: private.map(Base64),
            public: public.map(Base64),
        }
    }
}

fn secrets(
    state: &State,
    deployment: &Deployment,
    ambient: &Ambient<'_>,
    entries: &mut Entries,
) -> Result<(), ExportError> {
    for (name, spec) in &deployment.manifest.secrets {
        // The original keeps a value of private secrets too, which no marble ever gets.
        let placeholder = if spec.is_private() {
            Some(generate(spec, &state.authority, ambient)?)
        } else {
            None
        };
        let stored = deployment.secrets.get(name).map(|stored| &*stored.value);
        let value = placeholder.as_ref().or(stored);
        let previous = match deployment.previous.get(name) {
            Some(PreviousSecret::Value(value)) => Some(&**value),
            // Users upload them, and have no previous value.
            _ if spec.user_defined => None,
            Some(PreviousSecret::RootSecret(_)) | None => value,
        };
        put_json(entries, &format!("secret:{name}"), &SecretEntry::new(spec, value))?;
        put_json(
            entries,
            &format!("previousSecret:{name}"),
            &SecretEntry::new(spec, previous),
        )?;
    }
    // The same for all: a rotation gives it to each private key there is, and those that come later have none.
    let before = deployment.previous.values().find_map(|previous| match previous {
        PreviousSecret::RootSecret(before) => Some(before),
        PreviousSecret::Value(_) => None,
    });
    if let Some(before) = before {
        put(entries, "previousRootSecret", before.expose());
    }
    Ok(())
}

/// A list, or `null` if it is empty.
fn list<T>(items: &[T]) -> Option<&[T]> {
    (!items.is_empty()).then_some(items)
}

#[derive(Serialize)]
struct PackageEntry<'a> {
    #[serde(rename = "Debug")]
    debug: bool,
    #[serde(rename = "UniqueID")]
    unique_id: &'a str,
    #[serde(rename = "SignerID")]
    signer_id: &'a str,
    #[serde(rename = "ProductID")]
    product_id: Option<u64>,
    #[serde(rename = "SecurityVersion")]
    security_version: Option<u64>,
    #[serde(rename = "AcceptedTCBStatuses")]
    accepted_tcb_statuses: Option<&'a [String]>,
    #[serde(rename = "AcceptedAdvisories")]
    accepted_advisories: Option<&'a [String]>,
}

/// `version` is what the package has to have now.
fn package_entry(package: &Package, version: Option<u64>) -> PackageEntry<'_> {
    let sgx = package.sgx.as_ref();
    PackageEntry {
        debug: package.debug,
        unique_id: sgx.and_then(|sgx| sgx.unique_id.as_deref()).unwrap_or_default(),
        signer_id: sgx.and_then(|sgx| sgx.signer_id.as_deref()).unwrap_or_default(),
        product_id: sgx.and_then(|sgx| sgx.product_id),
        security_version: version,
        accepted_tcb_statuses: list(&package.accepted_tcb_statuses),
        accepted_advisories: list(&package.accepted_advisories),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TlsEntry<'a> {
    outgoing: Option<Vec<ConnectionEntry<'a>>>,
    incoming: Option<Vec<ConnectionEntry<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConnectionEntry<'a> {
    port: &'a str,
    addr: &'a str,
    cert: &'a str,
    disable_client_auth: bool,
}

fn tls_entry(tag: &TlsTag) -> TlsEntry<'_> {
    let outgoing = tag.outgoing.iter().map(|to| ConnectionEntry {
        port: &to.port,
        addr: &to.address,
        cert: "",
        disable_client_auth: false,
    });
    let incoming = tag.incoming.iter().map(|from| ConnectionEntry {
        port: &from.port,
        addr: "",
        cert: from.certificate.as_deref().unwrap_or_default(),
        disable_client_auth: from.disable_client_auth,
    });
    let some = |entries: Vec<_>| (!entries.is_empty()).then_some(entries);
    TlsEntry {
        outgoing: some(outgoing.collect()),
        incoming: some(incoming.collect()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserEntry<'a> {
    name: &'a str,
    certificate: Base64<'a>,
    permissions: BTreeMap<&'static str, PermissionEntry>,
}

#[derive(Serialize)]
struct PermissionEntry {
    #[serde(rename = "PermissionID")]
    permission: &'static str,
    #[serde(rename = "ResourceID")]
    resources: Present,
}

fn user_entry<'a>(manifest: &Manifest, name: &'a str, user: &'a User) -> UserEntry<'a> {
    let mut permissions: BTreeMap<&'static str, PermissionEntry> = BTreeMap::new();
    let mut grant = |permission: &'static str, resources: Option<&BTreeSet<Arc<str>>>| {
        let entry = permissions.entry(permission).or_insert(PermissionEntry {
            permission,
            resources: Present::new(),
        });
        entry.resources.extend(
            resources
                .into_iter()
                .flatten()
                .map(|name| (Arc::clone(name), true)),
        );
    };
    for role in user.roles.iter().filter_map(|role| manifest.roles.get(role)) {
        match role {
            Role::Packages {
                update_security_version,
            } => {
                if !update_security_version.is_empty() {
                    grant("updatesecurityversion", Some(update_security_version));
                }
            }
            Role::Secrets { read, write } => {
                if !read.is_empty() {
                    grant("readsecret", Some(read));
                }
                if !write.is_empty() {
                    grant("writesecret", Some(write));
                }
            }
            Role::Manifest { update: true } => grant("updatemanifest", None),
            Role::Manifest { update: false } => {}
        }
    }
    UserEntry {
        name,
        certificate: Base64(&user.certificate),
        permissions,
    }
}

#[derive(Serialize)]
struct MarbleEntry<'a> {
    #[serde(rename = "Package")]
    package: &'a str,
    #[serde(rename = "MaxActivations")]
    max_activations: u64,
    #[serde(rename = "Parameters")]
    parameters: ParametersEntry<'a>,
    #[serde(rename = "TLS")]
    tls: Option<&'a [Arc<str>]>,
    #[serde(rename = "DisableSecretBinding")]
    disable_secret_binding: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ParametersEntry<'a> {
    files: Option<BTreeMap<&'a str, ContentEntry<'a>>>,
    env: Option<BTreeMap<&'a str, ContentEntry<'a>>>,
    argv: Option<&'a [String]>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContentEntry<'a> {
    data: &'a str,
    encoding: &'a str,
    no_templates: bool,
}

fn marble_entry<'a>(marble: &'a Marble, written: &'a ParametersAsWritten) -> MarbleEntry<'a> {
    MarbleEntry {
        package: &marble.package,
        max_activations: marble.max_activations,
        parameters: ParametersEntry {
            files: contents(&written.files),
            env: contents(&written.env),
            argv: list(&marble.argv),
        },
        tls: list(&marble.tls),
        disable_secret_binding: marble.disable_secret_binding,
    }
}

fn contents(written: &BTreeMap<String, ContentAsWritten>) -> Option<BTreeMap<&str, ContentEntry<'_>>> {
    let entries = written.iter().map(|(name, content)| {
        let entry = ContentEntry {
            data: &content.data,
            encoding: &content.encoding,
            no_templates: content.no_templates,
        };
        (name.as_str(), entry)
    });
    (!written.is_empty()).then(|| entries.collect())
}
