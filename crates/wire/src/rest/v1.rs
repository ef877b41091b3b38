//! Version 1 of the client API: still served, for clients that know no other. Bodies of `POST` requests are the
//! raw JSON of the manifest, or [`UploadSecrets`]. Replies without a type here: `POST /update` and
//! `POST /secrets` answer `null`, `POST /update-manifest` and `POST /update-cancel` a string, and
//! `GET /update-manifest` answers [`super::v2::PendingUpdate`].

use serde::{Deserialize, Serialize};

use super::{Base64Bytes, Named, v2};

/// `GET /status`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "StatusV1"))]
#[serde(default, rename_all = "PascalCase")]
pub struct Status {
    /// The phase, see [`super::text`].
    pub status_code: u8,
    /// What the phase means.
    pub status_message: String,
}

/// `GET /quote`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "QuoteV1"))]
#[serde(default, rename_all = "PascalCase")]
pub struct Quote {
    /// PEM: the intermediate certificate, then the root certificate.
    pub cert: String,
    /// Evidence over the root certificate; `None` in simulation.
    pub quote: Option<Base64Bytes>,
}

/// `GET /manifest`; all empty when none is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ManifestV1"))]
#[serde(default)]
pub struct Manifest {
    /// By the root key over SHA-256 of the manifest; ECDSA, DER.
    #[serde(rename = "ManifestSignatureRootECDSA")]
    pub signature: Option<Base64Bytes>,
    /// SHA-256 of the manifest, 64 lower-case hex digits.
    #[serde(rename = "ManifestSignature")]
    pub fingerprint: String,
    /// The manifest, exactly as it was set.
    #[serde(rename = "Manifest")]
    pub manifest: Option<Base64Bytes>,
}

/// Reply to `POST /manifest`; without recovery keys it is `null` instead.
pub type ManifestSet = v2::ManifestSet;

/// Reply to `GET /secrets`.
pub type Secrets = Named<v2::Secret>;

/// Body of `POST /secrets`.
pub type UploadSecrets = Named<v2::UploadedSecret>;

/// Reply to `GET /update`: the entries, each with a newline behind it.
pub fn update_log(entries: &[impl AsRef<str>]) -> String {
    let mut text = String::new();
    for entry in entries {
        text.push_str(entry.as_ref());
        text.push('\n');
    }
    text
}
