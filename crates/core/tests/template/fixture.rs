//! The secrets and values the template tests render with: `template_corpus/data.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use marblerun_core::manifest::Name;
use marblerun_core::pki::key::{KeyKind, PrivateKey};
use marblerun_core::secret::spec::{CertificateFamily, SecretKind, SecretSpec};
use marblerun_core::secret::value::{CertificateValue, SecretBytes, SecretValue};
use marblerun_core::template::{Data, Place, TemplateError, compile, render};
use serde::Deserialize;

/// The corpus of templates and what goes with it.
pub const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/template_corpus");

/// Everything a template can be given.
pub struct Fixture {
    pub specs: BTreeMap<Name, SecretSpec>,
    pub secrets: BTreeMap<Name, SecretValue>,
    pub previous: BTreeMap<Name, SecretValue>,
    root_ca: Arc<[u8]>,
    coordinator_root: Arc<[u8]>,
    coordinator_intermediate: Arc<[u8]>,
    marble_certificate: Arc<[u8]>,
    marble_key: PrivateKey,
    pub seal_key: Option<SecretBytes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DataFile {
    secrets: BTreeMap<Name, Stored>,
    previous: BTreeMap<Name, Stored>,
    reserved: BTreeMap<String, Stored>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
#[derive(Default)]
struct Stored {
    #[serde(rename = "Type")]
    kind: String,
    size: u64,
    shared: bool,
    user_defined: bool,
    valid_for: u64,
    cert: String,
    public: String,
    private: String,
}

impl Stored {
    fn spec(&self) -> SecretSpec {
        let certificate = |family| SecretKind::Certificate {
            family,
            key: None,
            template: Box::default(),
        };
        let kind = match self.kind.as_str() {
            "symmetric-key" => SecretKind::Symmetric {
                length: (self.size / 8) as usize,
            },
            "plain" => SecretKind::Plain,
            "cert-rsa" => certificate(CertificateFamily::Rsa),
            "cert-ecdsa" => certificate(CertificateFamily::Ecdsa),
            "cert-ed25519" => certificate(CertificateFamily::Ed25519),
            other => panic!("unknown type {other}"),
        };
        SecretSpec {
            kind,
            size: self.size,
            shared: self.shared,
            user_defined: self.user_defined,
            valid_for: self.valid_for,
        }
    }

    fn value(&self) -> Option<SecretValue> {
        let private = decode(&self.private);
        match self.kind.as_str() {
            "symmetric-key" if !private.is_empty() => {
                Some(SecretValue::Symmetric(SecretBytes::copy_from(&private)))
            }
            "plain" if !private.is_empty() => Some(SecretValue::Plain(SecretBytes::copy_from(&private))),
            "symmetric-key" | "plain" => None,
            _ => (!self.cert.is_empty()).then(|| {
                SecretValue::Certificate(CertificateValue {
                    certificate: decode(&self.cert).into(),
                    public: decode(&self.public).into(),
                    private: (!private.is_empty()).then(|| SecretBytes::copy_from(&private)),
                })
            }),
        }
    }
}

impl Fixture {
    pub fn load() -> Self {
        let file: DataFile = read("data.json");
        let reserved = |name: &str| &file.reserved[name];
        let certificate = |name: &str| Arc::from(decode(&reserved(name).cert));
        let values = |stored: &BTreeMap<Name, Stored>| {
            stored
                .iter()
                .filter_map(|(name, stored)| Some((name.clone(), stored.value()?)))
                .collect()
        };
        let marble = reserved("MarbleCert");
        let private = SecretBytes::copy_from(&decode(&marble.private));
        Self {
            specs: file
                .secrets
                .iter()
                .map(|(name, stored)| (name.clone(), stored.spec()))
                .collect(),
            secrets: values(&file.secrets),
            previous: values(&file.previous),
            root_ca: certificate("RootCA"),
            coordinator_root: certificate("CoordinatorRoot"),
            coordinator_intermediate: certificate("CoordinatorIntermediate"),
            marble_certificate: certificate("MarbleCert"),
            marble_key: PrivateKey::from_parts(KeyKind::P256, private, decode(&marble.public)),
            seal_key: Some(SecretBytes::copy_from(&decode(&reserved("SealKey").private))),
        }
    }

    pub fn data(&self) -> Data<'_> {
        Data {
            specs: &self.specs,
            secrets: &self.secrets,
            previous: &self.previous,
            root_ca: &self.root_ca,
            coordinator_root: &self.coordinator_root,
            coordinator_intermediate: &self.coordinator_intermediate,
            marble_certificate: &self.marble_certificate,
            marble_key: &self.marble_key,
            seal_key: self.seal_key.as_ref(),
        }
    }

    /// Compiles and renders; an error of either.
    pub fn run(&self, place: Place, source: &[u8]) -> Result<Vec<u8>, TemplateError> {
        let compiled = compile(source, place, &self.specs).map_err(|errors| errors[0].clone())?;
        render(&compiled.template, &self.data()).map(|output| output.to_vec())
    }
}

/// A file of the corpus.
pub fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = format!("{DIRECTORY}/{name}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Base64 of the corpus.
pub fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}
