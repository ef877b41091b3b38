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

    /// Of preparing that these secrets are written: certificates and their keys are parsed and compared.
    pub fn of_uploads(uploads: &BTreeMap<Name, Upload>) -> Self {
        let size = |upload: &Upload| {
            let secret = [&upload.key, &upload.private]
                .into_iter()
                .flatten()
                .map(|secret| secret.expose().len());
            secret.sum::<usize>() + upload.certificate.as_ref().map_or(0, |der| der.len())
        };
        let pairs = uploads.values().filter(|upload| upload.private.is_some());
        if uploads.len() <= FEW
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
