//! What a file of the original holds, as a state of ours. Whatever follows from the manifest is taken from there;
//! an entry that is not known is an error, for nothing may get lost unsaid.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imbl::{OrdMap, Vector};
use serde::Deserialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::manifest::{self, Manifest, Name, certificate_public_key};
use crate::pki::CryptoSuite;
use crate::pki::authority::Authority;
use crate::pki::key::PrivateKey;
use crate::recovery::RecoveryPlan;
use crate::sealed::{DataKey, SealedError};
use crate::secret::spec::{SecretKind, SecretSpec};
use crate::secret::upload::{self, Upload};
use crate::secret::value::{SecretBytes, SecretValue};
use crate::state::{Deployment, PreviousSecret, Sealing, State, StoredSecret};

/// Bytes of a root secret.
const ROOT_SECRET: usize = 32;
/// The phase of a Coordinator that has a manifest.
pub(super) const ACCEPTING_MARBLES: &[u8] = b"3";
/// Entries that follow from the manifest, by the beginning of their names.
const DERIVED: [&str; 3] = ["TLS:", "marble:", "user:"];

/// A string that stays in the buffer it was read from, which is wiped.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

type Entries<'a> = BTreeMap<Text<'a>, Text<'a>>;

/// The fields of a secret that are no definition.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret<'a> {
    #[serde(borrow)]
    cert: Option<Text<'a>>,
    #[serde(borrow)]
    private: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package {
    security_version: Option<u64>,
}

/// Reads the decrypted content.
pub(super) fn read(plain: &[u8], key: &DataKey, plan: RecoveryPlan) -> Result<State, SealedError> {
    let entries: Entries<'_> =
        serde_json::from_slice(plain).map_err(|_| fault("", "not a JSON object of strings"))?;
    let content = Content { entries };
    if *content.required("state")? != *ACCEPTING_MARBLES {
        return Err(fault(
            "state",
            "not that of a Coordinator with a manifest (expected 3)",
        ));
    }
    let manifest = manifest::reopen(Arc::from(content.required("manifest")?.as_slice()))
        .map_err(|error| fault("manifest", &error))?;
    let authority = content.authority()?;
    if key.bytes().len() != authority.suite.data_key_length() {
        return Err(fault(
            "privateKey:coordinatorRootKey",
            "does not fit the data key",
        ));
    }
    let root_secret = content.root_secret("rootSecret")?;
    let mut deployment = Deployment {
        manifest: Arc::new(manifest),
        signature: Arc::from(content.required("manifestSignature")?.as_slice()),
        manifest_generation: 1,
        sealing: Some(Sealing {
            key_generation: 1,
            key: key.clone(),
            recovery: plan,
        }),
        secrets: OrdMap::new(),
        previous: OrdMap::new(),
        activations: OrdMap::new(),
        raised: OrdMap::new(),
        pending: None,
        counters: OrdMap::new(),
        counter_count: 0,
        type_counter_counts: OrdMap::new(),
        update_log: Vector::new(),
    };
    let log = content.required("updateLog")?;
    let log = std::str::from_utf8(&log).map_err(|_| fault("updateLog", "not UTF-8"))?;
    for line in log.lines().filter(|line| !line.is_empty()) {
        deployment.log(Arc::from(line));
    }
    // As if each line had been one change.
    let position = deployment.update_log.len().max(1) as u64;
    content.entries_into(&mut deployment, position)?;
    content.previous_into(&mut deployment, &root_secret)?;
    Ok(State {
        position,
        authority: Arc::new(authority),
        root_secret,
        recovering: false,
        deployment: Some(deployment),
    })
}

struct Content<'a> {
    entries: Entries<'a>,
}

impl Content<'_> {
    fn optional(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SealedError> {
        self.entries
            .get(&Text(Cow::Borrowed(name)))
            .map(|value| decode(name, &value.0))
            .transpose()
    }

    fn required(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        self.optional(name)?.ok_or_else(|| fault(name, "missing"))
    }

    fn root_secret(&self, name: &str) -> Result<SecretBytes, SealedError> {
        let bytes = self.required(name)?;
        if bytes.len() != ROOT_SECRET {
            return Err(fault(
                name,
                &format!("{} bytes, expected {ROOT_SECRET}", bytes.len()),
            ));
        }
        Ok(SecretBytes::copy_from(&bytes))
    }

    fn authority(&self) -> Result<Authority, SealedError> {
        let key =
            |name: &str| PrivateKey::from_any_der(&self.required(name)?).map_err(|error| fault(name, &error));
        let certificate = |name: &str, key: &PrivateKey| {
            let der: Arc<[u8]> = Arc::from(self.required(name)?.as_slice());
            match certificate_public_key(&der) {
                None => Err(fault(name, "not an X.509 certificate")),
                Some(public) if !key.matches(public) => Err(fault(name, "not the certificate of its key")),
                Some(_) => Ok(der),
            }
        };
        let root_key = key("privateKey:coordinatorRootKey")?;
        let intermediate_key = key("privateKey:coordinatorIntermediateKey")?;
        let suite = CryptoSuite::ALL
            .into_iter()
            .find(|suite| suite.key_kind() == root_key.kind())
            .ok_or_else(|| fault("privateKey:coordinatorRootKey", "expected ECDSA P-256 or P-384"))?;
        Ok(Authority {
            suite,
            root: certificate("certificate:coordinatorRootCert", &root_key)?,
            intermediate: certificate("certificate:coordinatorIntermediateCert", &intermediate_key)?,
            marble_root: certificate("certificate:marbleRootCert", &intermediate_key)?,
            root_key,
            intermediate_key,
        })
    }

    /// Secrets, activations, counters, packages.
    fn entries_into(&self, deployment: &mut Deployment, position: u64) -> Result<(), SealedError> {
        let manifest = Arc::clone(&deployment.manifest);
        for (name, value) in &self.entries {
            let (name, value): (&str, &str) = (&name.0, &value.0);
            if let Some(secret) = name.strip_prefix("secret:") {
                if let Some(spec) = stored(&manifest, secret)
                    && let Some(value) = secret_value(name, secret, spec, value)?
                {
                    let stored = StoredSecret {
                        value: Arc::new(value),
                        version: position,
                    };
                    deployment.secrets.insert(Arc::from(secret), stored);
                }
            } else if let Some(marble_type) = name.strip_prefix("activations:") {
                let count = decode(name, value)?;
                let count = std::str::from_utf8(&count)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .ok_or_else(|| fault(name, "not a number"))?;
                deployment.activations.insert(Arc::from(marble_type), count);
            } else if let Some(owner) = name.strip_prefix("monotonicCounter:") {
                let (owner, counter) = counter(owner)
                    .ok_or_else(|| fault(name, "expected marble type, UUID and name in base64"))?;
                let value = decode(name, value)?
                    .as_slice()
                    .try_into()
                    .map_err(|_| fault(name, "expected 8 bytes"))?;
                deployment.raise_counter(owner, &counter, u64::from_le_bytes(value));
            } else if let Some(package) = name.strip_prefix("package:") {
                let json = decode(name, value)?;
                let rules: Package =
                    serde_json::from_slice(&json).map_err(|_| fault(name, "not a package"))?;
                let in_manifest = manifest
                    .packages
                    .get(package)
                    .and_then(|package| package.sgx.as_ref());
                if let (Some(version), Some(known)) = (rules.security_version, in_manifest)
                    && known.security_version != Some(version)
                {
                    deployment.raised.insert(Arc::from(package), version);
                }
            } else if !is_known(name) {
                return Err(fault(
                    name,
                    "not known here; a pending update has to be applied or cancelled before moving over",
                ));
            }
        }
        Ok(())
    }

    /// Where `.Previous` differs from the present value.
    fn previous_into(
        &self,
        deployment: &mut Deployment,
        root_secret: &SecretBytes,
    ) -> Result<(), SealedError> {
        let manifest = Arc::clone(&deployment.manifest);
        let before = match self.optional("previousRootSecret")? {
            Some(_) => Some(self.root_secret("previousRootSecret")?).filter(|before| before != root_secret),
            None => None,
        };
        for (name, value) in &self.entries {
            let Some(secret) = name.0.strip_prefix("previousSecret:") else {
                continue;
            };
            let Some(spec) = manifest.secrets.get(secret).filter(|spec| !spec.user_defined) else {
                continue;
            };
            let previous = if spec.shared {
                let value = secret_value(&name.0, secret, spec, &value.0)?;
                let present = deployment.secrets.get(secret);
                value
                    .filter(|value| present.is_none_or(|present| *present.value != *value))
                    .map(|value| PreviousSecret::Value(Arc::new(value)))
            } else if spec.symmetric_length().is_some() {
                before.clone().map(PreviousSecret::RootSecret)
            } else {
                None
            };
            if let Some(previous) = previous {
                deployment.previous.insert(Arc::from(secret), previous);
            }
        }
        Ok(())
    }
}

/// Private secrets are made for each activation: what is stored of them is a placeholder.
fn stored<'m>(manifest: &'m Manifest, secret: &str) -> Option<&'m SecretSpec> {
    let spec = manifest.secrets.get(secret)?;
    (!spec.is_private()).then_some(spec)
}

/// The value of a stored secret; `None` for one that was never uploaded.
fn secret_value(
    entry: &str,
    name: &str,
    spec: &SecretSpec,
    value: &str,
) -> Result<Option<SecretValue>, SealedError> {
    let json = decode(entry, value)?;
    let secret: Secret<'_> = serde_json::from_slice(&json).map_err(|_| fault(entry, "not a secret"))?;
    let bytes = |field: &Option<Text<'_>>| -> Result<Option<SecretBytes>, SealedError> {
        let text = field.as_ref().filter(|text| !text.0.is_empty());
        text.map(|text| Ok(SecretBytes::copy_from(&decode(entry, &text.0)?)))
            .transpose()
    };
    let (certificate, private) = (bytes(&secret.cert)?, bytes(&secret.private)?);
    if certificate.is_none() && private.is_none() {
        return Ok(None);
    }
    let upload = match &spec.kind {
        SecretKind::Symmetric { .. } | SecretKind::Plain => Upload {
            key: private,
            ..Upload::default()
        },
        SecretKind::Certificate { .. } => Upload {
            key: None,
            certificate: certificate.map(|der| Arc::from(der.expose())),
            private,
        },
    };
    let accepted = upload::accept(name, spec, &upload).map_err(|error| fault(entry, &error))?;
    Ok(accepted.value)
}

/// `<marble type>:<UUID>:<name>`, each in base64.
fn counter(owner: &str) -> Option<((Name, Uuid), Name)> {
    let mut parts = owner.split(':').map(|part| STANDARD.decode(part).ok());
    let (marble_type, uuid, name) = (parts.next()??, parts.next()??, parts.next()??);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok().map(Name::from);
    let uuid = Uuid::from_slice(&uuid).ok()?;
    parts
        .next()
        .is_none()
        .then_some(((text(marble_type)?, uuid), text(name)?))
}

fn is_known(name: &str) -> bool {
    const KNOWN: [&str; 11] = [
        "certificate:coordinatorIntermediateCert",
        "certificate:coordinatorRootCert",
        "certificate:marbleRootCert",
        "manifest",
        "manifestSignature",
        "previousRootSecret",
        "privateKey:coordinatorIntermediateKey",
        "privateKey:coordinatorRootKey",
        "rootSecret",
        "state",
        "updateLog",
    ];
    KNOWN.contains(&name)
        || name.starts_with("previousSecret:")
        || DERIVED.iter().any(|start| name.starts_with(start))
}

fn decode(entry: &str, base64: &str) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    let mut out = Zeroizing::new(vec![0; base64.len()]);
    let length = STANDARD
        .decode_slice(base64, &mut out)
        .map_err(|_| fault(entry, "not base64"))?;
    out.truncate(length);
    Ok(out)
}

fn fault(entry: &str, problem: &(impl ToString + ?Sized)) -> SealedError {
    SealedError::Original {
        entry: entry.to_owned(),
        problem: problem.to_string(),
    }
}
