//! Paths of the client API, as clients send them.

/// Prefix of version 2.
pub const V2: &str = "/api/v2";

/// `GET` state of the Coordinator, version 1.
pub const V1_STATUS: &str = "/status";
/// `GET` evidence and certificates, version 1.
pub const V1_QUOTE: &str = "/quote";
/// `GET` or `POST` the manifest, version 1.
pub const V1_MANIFEST: &str = "/manifest";
/// `GET` the update log or `POST` an update, version 1.
pub const V1_UPDATE: &str = "/update";
/// `GET` or `POST` secrets, version 1.
pub const V1_SECRETS: &str = "/secrets";
/// `GET` the pending update or `POST` an acknowledgement, version 1.
pub const V1_UPDATE_MANIFEST: &str = "/update-manifest";
/// `POST`: drop the pending update, version 1.
pub const V1_UPDATE_CANCEL: &str = "/update-cancel";
/// `POST`: answered with 410 since version 2 recovers.
pub const V1_RECOVER: &str = "/recover";

/// `GET` state of the Coordinator.
pub const V2_STATUS: &str = "/api/v2/status";
/// `GET` evidence and certificates; query `nonce`.
pub const V2_QUOTE: &str = "/api/v2/quote";
/// `GET` or `POST` the manifest.
pub const V2_MANIFEST: &str = "/api/v2/manifest";
/// `GET` (query `s`, repeated) or `POST` secrets.
pub const V2_SECRETS: &str = "/api/v2/secrets";
/// `GET` the update log or `POST` an update.
pub const V2_UPDATE: &str = "/api/v2/update";
/// `GET` the pending update or `POST` an acknowledgement.
pub const V2_UPDATE_MANIFEST: &str = "/api/v2/update-manifest";
/// `POST`: drop the pending update.
pub const V2_UPDATE_CANCEL: &str = "/api/v2/update-cancel";
/// `POST` a recovery secret.
pub const V2_RECOVER: &str = "/api/v2/recover";
/// `GET` the ephemeral key that recovery secrets may be encrypted for.
pub const V2_RECOVER_PUBLIC_KEY: &str = "/api/v2/recover/public-key";
/// `POST` a quote to have it verified and the verdict signed.
pub const V2_SIGN_QUOTE: &str = "/api/v2/sign-quote";
/// `POST` a new value for a counter.
pub const V2_MONOTONIC_COUNTER: &str = "/api/v2/monotonic-counter";
/// `POST`: the state in the format of the original.
pub const V2_STATE_EXPORT: &str = "/api/v2/state/export";
/// `GET` the OpenAPI document of this API.
pub const V2_OPENAPI: &str = "/api/v2/openapi.json";

/// All of them.
pub const ALL: &[&str] = &[
    V1_STATUS,
    V1_QUOTE,
    V1_MANIFEST,
    V1_UPDATE,
    V1_SECRETS,
    V1_UPDATE_MANIFEST,
    V1_UPDATE_CANCEL,
    V1_RECOVER,
    V2_STATUS,
    V2_QUOTE,
    V2_MANIFEST,
    V2_SECRETS,
    V2_UPDATE,
    V2_UPDATE_MANIFEST,
    V2_UPDATE_CANCEL,
    V2_RECOVER,
    V2_RECOVER_PUBLIC_KEY,
    V2_SIGN_QUOTE,
    V2_MONOTONIC_COUNTER,
    V2_STATE_EXPORT,
    V2_OPENAPI,
];
