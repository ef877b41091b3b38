//! Facts about a deployment, in the past tense.
//!
//! One list of changes serves the durable log, the update log that users read, the audit trail and
//! replication. A change carries results (keys, certificates, values), never causes, so that applying it is
//! deterministic.

use std::sync::Arc;

use crate::ambient::Timestamp;
use crate::manifest::{Manifest, Name};
use crate::recovery::RecoveryPlan;
use crate::sealed::DataKey;
use crate::secret::value::SecretValue;

/// One fact.
#[derive(Clone)]
pub enum Change {
    /// The first manifest was set.
    ManifestSet {
        /// When.
        at: Timestamp,
        /// The manifest, compiled; the durable form is its raw bytes.
        manifest: Arc<Manifest>,
        /// The root key's signature over the raw bytes: ECDSA, ASN.1 DER.
        signature: Arc<[u8]>,
    },
    /// A new data encryption key was drawn and given to the holders of the recovery keys.
    ///
    /// The whole state is written anew under it, so this fact is part of a header, never of a log frame.
    DataKeyDrawn {
        /// Number of the key, from 1.
        key_generation: u64,
        /// The key.
        key: DataKey,
        /// How it can be put together again.
        recovery: RecoveryPlan,
    },
    /// Values were generated for secrets of the manifest.
    SecretsGenerated {
        /// Names and values.
        values: Vec<(Name, Arc<SecretValue>)>,
    },
    /// A marble of a type with a limit was activated.
    ActivationCounted {
        /// The marble type.
        marble_type: Name,
        /// How many activations there are now.
        count: u64,
    },
}
