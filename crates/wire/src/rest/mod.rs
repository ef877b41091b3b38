//! The client API: JSON over HTTPS (`spec/05`).
//!
//! Servers and clients share these types, so that they agree byte for byte. Two versions of the API differ in
//! their types ([`v1`], [`v2`]), never in what happens behind them. Every reply travels in a [`Reply`]; a body
//! is read with [`read_body`] (server) or [`read_reply`] (client) and written with [`to_body`] or, when it
//! holds secrets, [`to_secret_body`].

mod body;
mod bytes;
mod envelope;
mod json;
mod named;
pub mod path;
#[cfg(feature = "schema")]
mod schema;
pub mod text;
pub mod v1;
pub mod v2;

pub use body::{BodyError, read_body};
pub use bytes::{Base64Bytes, Base64Error, Base64Secret, decode_nonce, encode_nonce};
pub use envelope::{Reply, ReplyStatus, read_reply, to_body, to_secret_body};
pub use json::{go_json, go_json_string};
pub use named::Named;

/// Largest manifest, in bytes, before it is encoded (`spec/01`).
pub const MAXIMUM_MANIFEST: usize = 32 << 20;
/// Largest body that carries a manifest: [`MAXIMUM_MANIFEST`] in base64 and the JSON around it.
pub const MAXIMUM_MANIFEST_BODY: usize = MAXIMUM_MANIFEST / 3 * 4 + (64 << 10);
/// Largest body that uploads secrets: 4 MiB in base64 and the JSON around them.
pub const MAXIMUM_SECRETS_BODY: usize = (4 << 20) / 3 * 4 + (64 << 10);
/// Largest body of `recover`.
pub const MAXIMUM_RECOVER_BODY: usize = 20 << 10;
/// Largest body of every other request.
pub const MAXIMUM_OTHER_BODY: usize = 1 << 20;
