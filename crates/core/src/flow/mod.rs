//! Flows: one file for each thing a caller can ask for.
//!
//! A flow is a function of the state, a request and the [`Ambient`](crate::ambient::Ambient). Those that take
//! time are split: `prepare` works against a snapshot, in parallel; `decide` only compares and counts.

pub mod activate;
pub mod inspect;
pub mod set_manifest;
