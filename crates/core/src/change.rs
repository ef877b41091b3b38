//! Facts about a deployment, in the past tense.
//!
//! One list of changes serves the durable log, the update log that users read, the audit trail and
//! replication. A change carries results (keys, certificates, values), never causes, so that applying it is
//! deterministic.

use std::sync::Arc;

use uuid::Uuid;

use crate::ambient::Timestamp;
use crate::manifest::{Manifest, Name};
use crate::pki::key::PrivateKey;
use crate::recovery::RecoveryPlan;
use crate::sealed::DataKey;
use crate::secret::value::{SecretBytes, SecretValue};
use crate::state::PreviousSecret;

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
    /// Values were generated for secrets of the manifest, for the first time or in place of others.
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
    /// A user uploaded values of user-defined secrets.
    SecretsWritten {
        /// When.
        at: Timestamp,
        /// Who.
        user: Name,
        /// Names and values; `None`: the secret has no value any more.
        values: Vec<(Name, Option<Arc<SecretValue>>)>,
    },
    /// A user raised the security versions of packages. The manifest stays as it was set.
    PackagesRaised {
        /// When.
        at: Timestamp,
        /// Who.
        user: Name,
        /// Packages and their security versions from now on.
        versions: Vec<(Name, u64)>,
    },
    /// Intermediate and Marble root were replaced; the root stays.
    IntermediateRenewed {
        /// The intermediate certificate, DER.
        intermediate: Arc<[u8]>,
        /// The Marble root, DER.
        marble_root: Arc<[u8]>,
        /// The key of both.
        key: PrivateKey,
    },
    /// A user proposed a manifest in place of the one in force.
    UpdateProposed {
        /// When.
        at: Timestamp,
        /// Who.
        user: Name,
        /// Whether his proposal is an acknowledgement too.
        votes: bool,
        /// The manifest's bytes.
        raw: Arc<[u8]>,
        /// What is missing before it applies.
        missing: Missing,
    },
    /// A user acknowledged the pending update.
    UpdateAcknowledged {
        /// When.
        at: Timestamp,
        /// Who.
        user: Name,
        /// What is missing before it applies.
        missing: Missing,
    },
    /// A user cancelled the pending update.
    UpdateCancelled {
        /// When.
        at: Timestamp,
        /// Who.
        user: Name,
    },
    /// The pending update was acknowledged by all who had to, but could not be applied, and is no more.
    UpdateDropped {
        /// When.
        at: Timestamp,
    },
    /// The pending update took the place of the manifest in force.
    ///
    /// With it come the renewed intermediate, generated values, and a new data key where recovery keys changed:
    /// facts of their own, in the same decision.
    UpdateApplied {
        /// When.
        at: Timestamp,
        /// The manifest, compiled; the durable form is its raw bytes.
        manifest: Arc<Manifest>,
        /// The root key's signature over the raw bytes: ECDSA, ASN.1 DER.
        signature: Arc<[u8]>,
        /// The root secret from now on, if it was rotated: 32 bytes.
        root_secret: Option<SecretBytes>,
        /// Secrets whose value and previous value are not kept: gone from the manifest, or defined otherwise.
        dropped: Vec<Name>,
        /// What `.Previous` of these secrets is from now on.
        previous: Vec<(Name, PreviousSecret)>,
    },
    /// A marble raised one of its counters.
    CounterRaised {
        /// The marble type.
        marble_type: Name,
        /// The marble's UUID.
        uuid: Uuid,
        /// The counter.
        name: Name,
        /// Its value from now on.
        value: u64,
    },
}

/// What a pending update still needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// How many acknowledgements.
    pub acknowledgements: usize,
    /// Who may still give one, by name: with a threshold more than are missing. Empty when none is missing.
    pub users: Vec<Name>,
}
