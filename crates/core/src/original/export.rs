//! Writes a state in the format of the original, so that a deployment can move back (`docs/migration.md`).
//!
//! What the original cannot represent is refused by name: a state must not silently become a weaker one.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use zeroize::Zeroizing;

use super::{NONCE, algorithm, entries};
use crate::ambient::{Ambient, CryptoFault};
use crate::recovery::{RecoveryPlan, RecoveryScheme};
use crate::sealed::DataKey;
use crate::secret_json;
use crate::state::{Deployment, State};

/// Bytes of the tag.
const TAG: usize = 16;

/// Why a state is not written in the format of the original. Holds names, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// There is nothing to write before a manifest is set.
    #[error("there is no manifest, so there is no state to export")]
    NoManifest,
    /// Nobody could ever open what would be written.
    #[error(
        "the manifest has no recovery keys, so nobody could open an exported state: add some with an update of the \
         manifest first"
    )]
    NoRecoveryKeys,
    /// How the original keeps a pending update is not known.
    #[error(
        "an update of the manifest is in progress: it has to be applied or cancelled before the state is exported"
    )]
    UpdatePending,
    /// The original has nothing like it.
    #[error(
        "the original cannot represent {what}: it has to be removed with an update of the manifest first"
    )]
    NotRepresentable {
        /// Place in the manifest.
        what: String,
    },
    /// A fault of ours.
    #[error("the state cannot be encoded: {0}")]
    Encoding(&'static str),
    /// The crypto provider failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFault),
}

/// Entries of the state by name, as bytes that are not yet in base64.
pub(super) type Entries = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// A whole file of the original, under the data key of the state and with its share hashes.
///
/// Private secrets get placeholders as the original stores them; for RSA certificates that takes as long as to make
/// their keys.
///
/// # Errors
/// [`ExportError`]
pub fn export(state: &State, ambient: &Ambient<'_>) -> Result<Vec<u8>, ExportError> {
    let deployment = state.deployment.as_ref().ok_or(ExportError::NoManifest)?;
    let sealing = deployment.sealing.as_ref().ok_or(ExportError::NoManifest)?;
    check(deployment)?;
    let entries = entries::of(state, deployment, ambient)?;
    let header = header(&sealing.recovery)?;
    seal(&header, &entries, &sealing.key, ambient)
}

fn check(deployment: &Deployment) -> Result<(), ExportError> {
    let manifest = &deployment.manifest;
    if manifest.recovery_keys.is_empty() {
        return Err(ExportError::NoRecoveryKeys);
    }
    if deployment.pending.is_some() {
        return Err(ExportError::UpdatePending);
    }
    let refused = |what: String| Err(ExportError::NotRepresentable { what });
    // The original does not hold real quotes to it.
    if let Some(name) = manifest.infrastructures.keys().next() {
        return refused(format!("Infrastructures.{name}"));
    }
    // To the original these would be packages that any enclave complies with.
    for (name, package) in &manifest.packages {
        if package.tdx.is_some() || package.snp.is_some() || package.sgx.is_none() {
            return refused(format!("the TDX or SNP rules of Packages.{name}"));
        }
    }
    for (name, marble) in &manifest.marbles {
        if !marble.roles.is_empty() {
            return refused(format!("Marbles.{name}.Roles"));
        }
    }
    Ok(())
}

fn header(plan: &RecoveryPlan) -> Result<Vec<u8>, ExportError> {
    let hashes: Option<BTreeMap<String, bool>> = match plan.scheme() {
        RecoveryScheme::None => return Err(ExportError::NoRecoveryKeys),
        RecoveryScheme::Single => None,
        RecoveryScheme::Xor | RecoveryScheme::Shamir => Some(
            plan.share_hashes()
                .iter()
                .map(|hash| (hex::encode(hash), true))
                .collect(),
        ),
    };
    serde_json::to_vec(&hashes).map_err(|_| ExportError::Encoding("header"))
}

fn seal(
    header: &[u8],
    entries: &Entries,
    key: &DataKey,
    ambient: &Ambient<'_>,
) -> Result<Vec<u8>, ExportError> {
    let fault = ExportError::Encoding("content");
    let content = Content(entries);
    let length = secret_json::length(&content).map_err(|_| fault.clone())?;
    let header_length = u32::try_from(header.len()).map_err(|_| ExportError::Encoding("header"))?;
    let mut nonce = [0; NONCE];
    ambient.dice.fill(&mut nonce);

    let clear = size_of::<u32>() + header.len() + NONCE;
    // Of its final size from the start: growing would leave copies of secrets behind.
    let mut file = Zeroizing::new(Vec::with_capacity(clear + length + TAG));
    file.extend_from_slice(&header_length.to_le_bytes());
    file.extend_from_slice(header);
    file.extend_from_slice(&nonce);
    serde_json::to_writer(&mut *file, &content).map_err(|_| fault.clone())?;
    let plain = file
        .get_mut(clear..)
        .filter(|plain| plain.len() == length)
        .ok_or(fault)?;
    let sealer = UnboundKey::new(algorithm(key.cipher()), key.bytes().expose())
        .map(LessSafeKey::new)
        .map_err(|_| CryptoFault::in_operation("make an AES-GCM key"))?;
    let tag = sealer
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), plain)
        .map_err(|_| CryptoFault::in_operation("encrypt with AES-GCM"))?;
    file.extend_from_slice(tag.as_ref());
    // Encrypted now, so no secret any more.
    Ok(std::mem::take(&mut *file))
}

/// The JSON object of base64 values.
struct Content<'a>(&'a Entries);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, &Base64(value))?;
        }
        map.end()
    }
}

/// Bytes in base64, written without a copy of them in between.
pub(super) struct Base64<'a>(pub(super) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::display::Base64Display;
        use base64::engine::general_purpose::STANDARD;
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}
