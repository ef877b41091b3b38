//! How long preparing takes: whether it is worth being handed to another thread, which costs about as much as a signature.

use std::collections::BTreeMap;

use crate::manifest::{Content, Manifest, Marble, Name};
use crate::pki::key::KeyKind;
use crate::secret::spec::SecretKind;
use crate::secret::upload::Upload;

/// Secrets, files and variables of a marble that is activated with little effort.
const FEW: usize = 32;
/// Keys, beside the marble's own, that are made with little effort; none of them RSA.
const FEW_KEYS: usize = 2;
/// Bytes that are copied or read with little effort.
const FEW_BYTES: usize = 64 << 10;

/// How long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// A few signatures' time at most: where others wait their turn, they do not notice.
    Little,
    /// As long as RSA keys take, or as much as a manifest brings.
    Much,
}

impl Effort {
    /// Of preparing an activation of this type; a type that the manifest does not know is refused at once.
    pub fn of_activation(manifest: Option<&Manifest>, marble_type: &str) -> Self {
        let asked = manifest.and_then(|manifest| Some((manifest, manifest.marbles.get(marble_type)?)));
        match asked {
            Some((manifest, marble)) if !is_small(manifest, marble) => Self::Much,
            _ => Self::Little,
        }
    }

    /// Of preparing that these secrets are written: certificates and their keys are parsed and compared, and the templates
    /// that refer to them rendered.
    pub fn of_uploads(manifest: Option<&Manifest>, uploads: &BTreeMap<Name, Upload>) -> Self {
        let size = |upload: &Upload| {
            let secret = [&upload.key, &upload.private]
                .into_iter()
                .flatten()
                .map(|secret| secret.expose().len());
            secret.sum::<usize>() + upload.certificate.as_ref().map_or(0, |der| der.len())
        };
        let pairs = uploads.values().filter(|upload| upload.private.is_some());
        let templates =
            |name: &Name| manifest.map_or(0, |manifest| manifest.template_index.templates_with(name).len());
        if uploads.len() <= FEW
            && uploads.keys().map(templates).sum::<usize>() <= FEW
            && pairs.count() <= FEW_KEYS
            && uploads.values().map(size).sum::<usize>() <= FEW_BYTES
        {
            Self::Little
        } else {
            Self::Much
        }
    }
}

fn is_small(manifest: &Manifest, marble: &Marble) -> bool {
    let references = &marble.references;
    let parts = references.secrets.len() + references.previous.len() + marble.files.len() + marble.env.len();
    if parts > FEW {
        return false;
    }
    let contents = marble.files.values().chain(marble.env.values());
    let bytes = contents.map(|content| match content {
        Content::Verbatim(bytes) => bytes.len(),
        Content::Template(_) => 0,
    });
    let keys: Vec<Option<KeyKind>> = references
        .secrets
        .iter()
        .filter_map(|name| manifest.secrets.get(name))
        .filter(|spec| spec.is_private())
        .filter_map(|spec| match spec.kind {
            SecretKind::Certificate { key, .. } => Some(key),
            _ => None,
        })
        .collect();
    let rsa = keys.iter().any(|key| matches!(key, Some(KeyKind::Rsa(_))));
    !rsa && keys.len() <= FEW_KEYS && bytes.sum::<usize>() <= FEW_BYTES
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::manifest::{HsmEnvironment, Limits, check};
    use crate::secret::value::SecretBytes;

    /// The effort of activating the marble `m` with these parameters.
    fn of_activation(parameters: &Value) -> Effort {
        let private =
            |kind: &str, size: u32| json!({"Type": kind, "Size": size, "Shared": false, "Cert": {}});
        let mut secrets = json!({
            "rsa": private("cert-rsa", 2048),
            "rsa_shared": {"Type": "cert-rsa", "Size": 2048, "Shared": true, "Cert": {}},
            "plain": {"Type": "plain", "UserDefined": true},
        });
        for index in 0..40 {
            secrets[format!("ec{index}")] = private("cert-ecdsa", 256);
            secrets[format!("key{index}")] = json!({"Type": "symmetric-key", "Size": 128, "Shared": false});
        }
        let document = json!({
            "Packages": {"p": {"Debug": true, "SignerID": "51".repeat(32), "ProductID": 1, "SecurityVersion": 1}},
            "Marbles": {"m": {"Package": "p", "Parameters": parameters}},
            "Secrets": secrets,
        });
        let environment = HsmEnvironment::from_lookup(|_| true);
        let checked = check(document.to_string().as_bytes(), &Limits::default(), &environment);
        let manifest = checked.unwrap_or_else(|error| panic!("{error}")).manifest;
        Effort::of_activation(Some(&manifest), "m")
    }

    fn certificates(names: &[&str]) -> Value {
        let template = |name: &&str| format!("{{{{ pem .Secrets.{name}.Cert }}}}");
        json!({"Files": {"/a": names.iter().map(template).collect::<String>()}})
    }

    #[test]
    fn an_activation_takes_long_by_the_keys_and_bytes_it_needs() {
        let keys = |count: usize| {
            let key = |index| {
                (
                    format!("K{index}"),
                    json!(format!("{{{{ hex .Secrets.key{index} }}}}")),
                )
            };
            json!({"Env": (0..count).map(key).collect::<serde_json::Map<_, _>>()})
        };
        let little = [
            json!({}),
            certificates(&["rsa_shared"]),
            certificates(&["ec0", "ec1"]),
            keys(16),
            json!({"Files": {"/a": "x".repeat(FEW_BYTES)}}),
        ];
        let much = [
            certificates(&["rsa"]),
            certificates(&["ec0", "ec1", "ec2"]),
            keys(17),
            json!({"Files": {"/a": "x".repeat(FEW_BYTES), "/b": "x"}}),
        ];
        for parameters in little {
            assert_eq!(of_activation(&parameters), Effort::Little, "{parameters}");
        }
        for parameters in much {
            assert_eq!(of_activation(&parameters), Effort::Much, "{parameters}");
        }
        assert_eq!(Effort::of_activation(None, "m"), Effort::Little);
    }

    #[test]
    fn an_upload_takes_long_by_its_number_size_and_keys() {
        let uploads = |count: usize, upload: &Upload| {
            let named = |index: usize| (Name::from(index.to_string()), upload.clone());
            Effort::of_uploads(None, &(0..count).map(named).collect())
        };
        let key = |bytes| Upload {
            key: Some(SecretBytes::copy_from(&vec![1; bytes])),
            ..Upload::default()
        };
        let pair = Upload {
            private: Some(SecretBytes::copy_from(&[1])),
            certificate: Some([1].into()),
            ..Upload::default()
        };
        assert_eq!(uploads(FEW, &key(16)), Effort::Little);
        assert_eq!(uploads(FEW + 1, &key(16)), Effort::Much);
        assert_eq!(uploads(1, &key(FEW_BYTES + 1)), Effort::Much);
        assert_eq!(uploads(FEW_KEYS, &pair), Effort::Little);
        assert_eq!(uploads(FEW_KEYS + 1, &pair), Effort::Much);
    }
}
