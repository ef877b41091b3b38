//! What travels between MarbleRun's servers and clients: types and limits, no sockets.

#![forbid(unsafe_code)]

mod hidden;
pub mod marble;
pub mod rest;

pub use hidden::is_hidden;
