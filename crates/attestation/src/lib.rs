//! Evidence of TEEs: what it is ([`quote`]), what it is bound to ([`binding`]), what it proves ([`claims`]), who may
//! rely on it ([`admission`]), and how a program asks its own TEE for it ([`issue`]). The contract is spec/08.
//!
//! Evidence is a stranger's bytes until it is verified: a [`Quote`] tells no claim, only what format it seems to
//! have. Claims come out of verification alone, as [`Verified`]`<`[`Claims`]`>`, which nothing outside this crate
//! can make.
//!
//! Deliberately absent: sockets, clocks, environment variables. Only [`issue`] touches files, below a root
//! directory its caller names.

#![forbid(unsafe_code)]

pub mod admission;
pub mod binding;
pub mod claims;
pub mod header;
pub mod issue;
pub mod quote;
pub mod tcb;

pub use admission::{Admission, SimulationMode, Verified};
pub use binding::ReportBinding;
pub use claims::{Claims, SgxClaims, SnpClaims, TdxClaims};
pub use quote::{EvidenceKind, Quote};
pub use tcb::TcbStatus;
