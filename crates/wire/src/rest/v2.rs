//! Version 2 of the client API, below [`super::path::V2`].

use serde::{Deserialize, Serialize};

use super::body::null_is_default;
use super::{Base64Bytes, Base64Secret, Named};

/// `GET status`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Status {
    /// The phase, see [`super::text`].
    pub code: u8,
    /// What the phase means.
    pub message: String,
}

/// `GET quote`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Quote {
    /// PEM: the intermediate certificate, then the root certificate.
    pub cert: String,
    /// Evidence over the root certificate and the nonce; `None` in simulation.
    pub quote: Option<Base64Bytes>,
}

/// `GET manifest`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Manifest {
    /// By the root key over SHA-256 of the manifest; ECDSA, DER.
    #[serde(rename = "manifestSignatureRootECDSA")]
    pub signature: Base64Bytes,
    /// SHA-256 of the manifest, 64 lower-case hex digits.
    #[serde(rename = "manifestFingerprint")]
    pub fingerprint: String,
    /// The manifest, exactly as it was set.
    pub manifest: Base64Bytes,
}

/// Body of `POST manifest`, `POST update` and `POST update-manifest`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SendManifest {
    /// The manifest.
    pub manifest: Base64Bytes,
}

/// Reply to `POST manifest`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ManifestSet {
    /// For each recovery key its secret, encrypted with RSA-OAEP; the capital R is contract.
    #[serde(rename = "RecoverySecrets")]
    pub recovery_secrets: Named<Base64Bytes>,
}

/// A secret as users read it. All fields are always present.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "PascalCase")]
pub struct Secret {
    /// `symmetric-key`, `plain`, `cert-rsa`, `cert-ecdsa`, `cert-ed25519`.
    #[serde(deserialize_with = "null_is_default")]
    pub r#type: String,
    /// Bits; the curve for `cert-ecdsa`; 0 where the type has none.
    pub size: u64,
    /// Whether all marbles get the same value.
    pub shared: bool,
    /// Whether users upload the value.
    pub user_defined: bool,
    /// Of certificates: the certificate, DER.
    pub cert: Option<Base64Bytes>,
    /// Days.
    pub valid_for: u64,
    /// Of certificates: the private key, PKCS#8 DER; of others the value; never uploaded: `None`.
    pub private: Option<Base64Secret>,
    /// Of certificates: the public key, PKIX DER; of others the value again; never uploaded: `None`.
    pub public: Option<Base64Secret>,
}

/// Reply to `GET secrets`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Secrets {
    /// Those asked for.
    pub secrets: Named<Secret>,
}

/// A value for a user-defined secret: `Key`, or `Cert` and `Private`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "PascalCase")]
pub struct UploadedSecret {
    /// Of `symmetric-key` and `plain`: the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Base64Secret>,
    /// Of certificates: the certificate, DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<Base64Bytes>,
    /// Of certificates: the private key, PKCS#8 DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<Base64Secret>,
}

/// Body of `POST secrets`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct UploadSecrets {
    /// The new values by name.
    pub secrets: Named<UploadedSecret>,
}

/// Reply to `GET update`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct UpdateLog {
    /// One JSON text for each entry.
    #[serde(deserialize_with = "null_is_default")]
    pub update_log: Vec<String>,
    /// For each entry, in the same order, a hash that covers it and all before it: SHA-256(hash of the entry before ‖
    /// UTF-8 bytes of the entry's text), 64 lower-case hex digits; 32 zero bytes stand before the first entry.
    /// `None` from servers that do not offer them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_log_hashes: Option<Vec<String>>,
}

/// Reply to `POST update`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct UpdateReceived {
    /// How many acknowledgements are missing; 0: applied.
    pub missing_acknowledgments: usize,
    /// All who may still acknowledge; with a threshold more than are missing. `None` when applied.
    pub missing_users: Option<Vec<String>>,
    /// New recovery secrets, when the update was applied and changed the recovery keys; otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_secrets: Option<Named<Base64Bytes>>,
}

/// Reply to `GET update-manifest`, in both versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct PendingUpdate {
    /// The pending manifest, exactly as proposed.
    pub manifest: Base64Bytes,
    /// See [`super::text::acknowledgement_message`].
    pub message: String,
    /// All who may still acknowledge.
    pub missing_users: Option<Vec<String>>,
}

/// Reply to `POST update-manifest`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct Acknowledged {
    /// See [`super::text::acknowledgement_message_naming`].
    pub message: String,
    /// All who may still acknowledge; `None` when applied.
    pub missing_users: Option<Vec<String>>,
    /// How many acknowledgements are missing; 0: applied.
    pub missing_acknowledgments: usize,
    /// New recovery secrets, when the update was applied and changed the recovery keys; otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_secrets: Option<Named<Base64Bytes>>,
}

/// Reply to `POST update-cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Cancelled {
    /// [`super::text::UPDATE_CANCELLED`]
    pub message: String,
}

/// Body of `POST recover`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct Recover {
    /// The secret, plain (16, 17, 32 or 33 bytes) or encrypted for the Coordinator's ephemeral key.
    pub recovery_secret: Base64Secret,
    /// By the holder's recovery key over SHA-256 of the plain secret; PKCS#1 v1.5.
    pub recovery_secret_signature: Base64Bytes,
}

/// Reply to `POST recover`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Recovered {
    /// Secrets not yet collected; 0: recovered.
    pub remaining: usize,
    /// See [`super::text::recovery_message`].
    pub message: String,
}

/// Reply to `GET recover/public-key`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct RecoveryPublicKey {
    /// `RSA`
    pub algorithm: String,
    /// PKIX DER.
    pub ephemeral_public_key: Base64Bytes,
}

/// Body of `POST sign-quote`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct SignQuote {
    /// The quote, bare or behind the Open Enclave header.
    pub sgx_quote: Base64Bytes,
}

/// Reply to `POST sign-quote`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct QuoteSigned {
    /// As spelled in `spec/08`.
    pub tcb_status: String,
    /// By the root key over SHA-256(base64 of the quote as posted ‖ `tcbStatus`); ECDSA, DER.
    pub verification_signature: Base64Bytes,
}

/// Data of the refusal of `POST sign-quote`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct QuoteRefused {
    /// Why the quote was not verifiable.
    pub sgx_quote: String,
}

/// Body of `POST monotonic-counter`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SetCounter {
    /// 1 to 253 bytes.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// The new value, taken when it is larger than the old one.
    #[serde(deserialize_with = "null_is_default")]
    pub value: u64,
}

/// Reply to `POST monotonic-counter`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CounterSet {
    /// The value before.
    pub value: u64,
}

/// Reply to `POST state/export`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct StateExported {
    /// A whole file `sealed_data` of the original, encrypted with the data key of the state.
    pub sealed_data: Base64Bytes,
}
