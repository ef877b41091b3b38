//! What the client API can be asked (`spec/05`), with the types that the handlers read and write.

use marblerun_wire::rest::{path, v1, v2};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Anybody,
    User,
    Marble,
}

type Make = fn(&mut SchemaGenerator) -> Schema;

/// One thing to ask for.
pub struct Operation {
    pub path: &'static str,
    pub method: &'static str,
    pub who: Who,
    pub summary: &'static str,
    pub description: &'static str,
    pub parameters: Vec<Value>,
    pub request: Option<Make>,
    pub data: Make,
    /// Codes other than 200, and what they mean here.
    pub refusals: Vec<(u16, &'static str)>,
}

impl Operation {
    fn new(method: &'static str, path: &'static str, who: Who, summary: &'static str, data: Make) -> Self {
        let mut refusals = vec![(500, "refused, or an internal error; the message says which")];
        if who != Who::Anybody {
            refusals.push((
                401,
                "no certificate, or one that is nobody's in the manifest in force",
            ));
        }
        Self {
            path,
            method,
            who,
            summary,
            description: "",
            parameters: Vec::new(),
            request: None,
            data,
            refusals,
        }
    }

    fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    fn query(mut self, name: &str, repeated: bool, required: bool, description: &str) -> Self {
        let text = json!({"type": "string"});
        let schema = if repeated {
            json!({"type": "array", "items": text, "minItems": 1})
        } else {
            text
        };
        self.parameters.push(json!({
            "name": name, "in": "query", "required": required, "description": description, "schema": schema,
        }));
        self.or(400, "the query cannot be read")
    }

    fn body(mut self, request: Make) -> Self {
        self.request = Some(request);
        self.or(400, "the body cannot be read")
            .or(408, "the body took too long")
            .or(413, "the body is larger than allowed")
            .or(
                503,
                "too many requests are being received, or the change could not be made durable",
            )
    }

    fn or(mut self, code: u16, meaning: &'static str) -> Self {
        self.refusals.retain(|(known, _)| *known != code);
        self.refusals.push((code, meaning));
        self
    }
}

fn nothing(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "null"})
}

fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string"})
}

/// The raw manifest; its own schema is `docs/manifest.schema.json`.
fn manifest(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "description": "A manifest, as docs/manifest.schema.json describes it."})
}

fn of<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn or_null<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let schema = generator.subschema_for::<T>();
    json_schema!({"anyOf": [schema, {"type": "null"}]})
}

/// All operations, version 2 first.
pub fn all() -> Vec<Operation> {
    let mut all = version_2();
    all.extend(version_1());
    all
}

fn version_2() -> Vec<Operation> {
    let ask = Operation::new;
    vec![
        ask(
            "get",
            path::V2_STATUS,
            Who::Anybody,
            "What the Coordinator is ready for",
            of::<v2::Status>,
        )
        .describe(
            "`code` is the phase: 1 recovery, 2 accepting a manifest, 3 accepting marbles. 200 in each of \
                       them, so it serves as a probe.",
        ),
        ask(
            "get",
            path::V2_QUOTE,
            Who::Anybody,
            "Evidence and certificates",
            of::<v2::Quote>,
        )
        .describe(
            "`cert` holds the intermediate and the root certificate, PEM. The report data of the quote \
                       begins with SHA-256(root certificate, DER ‖ nonce). In simulation there is no quote.",
        )
        .query(
            "nonce",
            false,
            false,
            "Base64 with the URL-safe alphabet, padded or not.",
        ),
        ask(
            "get",
            path::V2_MANIFEST,
            Who::Anybody,
            "The manifest in force",
            of::<v2::Manifest>,
        ),
        ask(
            "post",
            path::V2_MANIFEST,
            Who::Anybody,
            "Set the first manifest",
            of::<v2::ManifestSet>,
        )
        .describe(
            "In phases 1 and 2 only. The reply has one recovery secret for each recovery key, encrypted \
                       for it.",
        )
        .body(of::<v2::SendManifest>),
        ask(
            "get",
            path::V2_SECRETS,
            Who::User,
            "Read secrets",
            of::<v2::Secrets>,
        )
        .query("s", true, true, "Name of a secret; repeated for several."),
        ask(
            "post",
            path::V2_SECRETS,
            Who::User,
            "Upload user-defined secrets",
            nothing,
        )
        .describe("All of them, or none.")
        .body(of::<v2::UploadSecrets>),
        ask(
            "get",
            path::V2_UPDATE,
            Who::Anybody,
            "The update log",
            of::<v2::UpdateLog>,
        )
        .describe("One JSON text for each entry, oldest first."),
        ask(
            "post",
            path::V2_UPDATE,
            Who::User,
            "Propose an update",
            of::<v2::UpdateReceived>,
        )
        .describe(
            "A manifest with `Packages` alone raises SecurityVersions at once. Any other is a full update, \
                       which applies when enough users have acknowledged it.",
        )
        .body(of::<v2::SendManifest>),
        ask(
            "get",
            path::V2_UPDATE_MANIFEST,
            Who::Anybody,
            "The update that waits for acknowledgements",
            of::<v2::PendingUpdate>,
        )
        .or(404, "no update is in progress"),
        ask(
            "post",
            path::V2_UPDATE_MANIFEST,
            Who::User,
            "Acknowledge an update",
            of::<v2::Acknowledged>,
        )
        .describe("With the very bytes that were proposed.")
        .body(of::<v2::SendManifest>)
        .or(404, "no update is in progress"),
        ask(
            "post",
            path::V2_UPDATE_CANCEL,
            Who::User,
            "Drop the update that waits",
            of::<v2::Cancelled>,
        )
        .or(404, "no update is in progress")
        .or(503, "the change could not be made durable"),
        ask(
            "post",
            path::V2_STATE_EXPORT,
            Who::User,
            "Export the state in the format of the original",
            of::<v2::StateExported>,
        )
        .describe(
            "Needs `UpdateManifest`. The file is encrypted with the data key of the state: the recovery secrets open it. \
             Refused without recovery keys, while an update is pending, and for what the original cannot represent.",
        ),
        ask(
            "post",
            path::V2_RECOVER,
            Who::Anybody,
            "Hand in a recovery secret",
            of::<v2::Recovered>,
        )
        .describe(
            "In phase 1 only. The secret may be encrypted for the key of `recover/public-key`; it is \
                       signed with the holder's recovery key.",
        )
        .body(of::<v2::Recover>),
        ask(
            "get",
            path::V2_RECOVER_PUBLIC_KEY,
            Who::Anybody,
            "Key to encrypt recovery secrets for",
            of::<v2::RecoveryPublicKey>,
        )
        .describe("In phase 1 only; RSA, PKIX DER, new at each start. RSA-OAEP with SHA-256."),
        ask(
            "post",
            path::V2_SIGN_QUOTE,
            Who::Anybody,
            "Have a quote verified and the verdict signed",
            of::<v2::QuoteSigned>,
        )
        .describe(
            "Needs the feature gate `SignQuoteEndpoint` of the manifest. The signature is the root key's, \
                       over SHA-256(base64 of the quote as posted ‖ TCB status).",
        )
        .body(of::<v2::SignQuote>)
        .or(403, "the feature gate is not open"),
        ask(
            "post",
            path::V2_MONOTONIC_COUNTER,
            Who::Marble,
            "Raise a monotonic counter",
            of::<v2::CounterSet>,
        )
        .describe(
            "Needs the feature gate `MonotonicCounter` of the manifest. `value` of the reply is the value \
                       before.",
        )
        .body(of::<v2::SetCounter>)
        .or(403, "the feature gate is not open"),
        ask(
            "get",
            path::V2_OPENAPI,
            Who::Anybody,
            "This document",
            |_| json_schema!({"type": "object"}),
        ),
    ]
}

fn version_1() -> Vec<Operation> {
    let ask = Operation::new;
    vec![
        ask(
            "get",
            path::V1_STATUS,
            Who::Anybody,
            "What the Coordinator is ready for",
            of::<v1::Status>,
        ),
        ask(
            "get",
            path::V1_QUOTE,
            Who::Anybody,
            "Evidence and certificates",
            of::<v1::Quote>,
        )
        .query(
            "nonce",
            false,
            false,
            "Base64 with the URL-safe alphabet, padded or not.",
        ),
        ask(
            "get",
            path::V1_MANIFEST,
            Who::Anybody,
            "The manifest in force",
            of::<v1::Manifest>,
        )
        .describe("Empty and null values while none is set."),
        ask(
            "post",
            path::V1_MANIFEST,
            Who::Anybody,
            "Set the first manifest",
            or_null::<v1::ManifestSet>,
        )
        .body(manifest),
        ask(
            "get",
            path::V1_SECRETS,
            Who::User,
            "Read secrets",
            of::<v1::Secrets>,
        )
        .query("s", true, true, "Name of a secret; repeated for several."),
        ask(
            "post",
            path::V1_SECRETS,
            Who::User,
            "Upload user-defined secrets",
            nothing,
        )
        .body(of::<v1::UploadSecrets>),
        ask("get", path::V1_UPDATE, Who::Anybody, "The update log", text)
            .describe("One line of JSON for each entry."),
        ask("post", path::V1_UPDATE, Who::User, "Propose an update", nothing)
            .describe("Refused if it would yield new recovery secrets, for which version 1 has no place.")
            .body(manifest),
        ask(
            "get",
            path::V1_UPDATE_MANIFEST,
            Who::Anybody,
            "The update that waits for acknowledgements",
            of::<v2::PendingUpdate>,
        )
        .or(404, "no update is in progress"),
        ask(
            "post",
            path::V1_UPDATE_MANIFEST,
            Who::User,
            "Acknowledge an update",
            text,
        )
        .body(manifest)
        .or(404, "no update is in progress"),
        ask(
            "post",
            path::V1_UPDATE_CANCEL,
            Who::User,
            "Drop the update that waits",
            text,
        )
        .or(404, "no update is in progress")
        .or(503, "the change could not be made durable"),
        ask("post", path::V1_RECOVER, Who::Anybody, "Gone", nothing)
            .describe("Recovery is in version 2 alone.")
            .or(410, "always: use `/api/v2/recover`"),
    ]
}
