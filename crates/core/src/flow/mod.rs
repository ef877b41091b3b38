//! Flows: one file for each thing a caller can ask for.
//!
//! A flow is a function of the state, a request and the [`Ambient`](crate::ambient::Ambient). Those that take
//! time are split: `prepare` works against a snapshot, in parallel; `decide` only compares and counts.

pub mod activate;
pub mod counter;
pub mod effort;
pub mod export_state;
pub mod inspect;
pub mod read_secrets;
pub mod recover;
mod rehearsal;
pub mod set_manifest;
pub mod sign_quote;
pub mod update_manifest;
pub mod update_packages;
pub mod write_secrets;
