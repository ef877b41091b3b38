//! The rules of MarbleRun.
//!
//! Everything here is pure: a flow takes the state, a request and an [`ambient::Ambient`] (time and dice) and
//! answers with a [`decision::Decision`] or a [`refusal::Refusal`]. Nothing in this crate opens a file or a
//! socket, reads a clock or an environment variable, or asks the operating system for randomness.

#![forbid(unsafe_code)]

pub mod access;
pub mod ambient;
pub mod appraisal;
pub mod change;
pub mod decision;
pub mod flow;
pub mod manifest;
mod marble_environment;
pub mod original;
pub mod phase;
pub mod pki;
pub mod recovery;
pub mod refusal;
pub mod sealed;
pub mod secret;
mod secret_json;
pub mod state;
pub mod template;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod update_log;
