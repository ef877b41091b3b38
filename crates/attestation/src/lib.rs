//! Evidence of TEEs: what it is ([`quote`]), what it is bound to ([`binding`]), how it is verified ([`verify`]) and
//! with what ([`collateral`], [`roots`]), why it is refused ([`reason`]), what it proves ([`claims`]), what that is held
//! against ([`policy`]), who may rely on it ([`admission`]), how people look at it ([`inspect`]), and how a
//! program asks its own TEE for it ([`issue`]). The contract is spec/08.
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
pub mod certificate;
mod chain;
pub mod claims;
pub mod collateral;
mod dcap;
#[cfg(feature = "fakes")]
pub mod fakes;
pub mod freshness;
pub mod header;
pub mod inspect;
pub mod issue;
mod layout;
mod moment;
pub mod policy;
pub mod quote;
pub mod reason;
pub mod roots;
mod snp;
pub mod tcb;
pub mod verify;

pub use admission::{Admission, SimulationMode, StrictSimulationMode, Verified};
pub use binding::ReportBinding;
pub use claims::{Claims, SgxClaims, SnpClaims, TdxClaims};
pub use collateral::{Collateral, CollateralNeeded, DcapCollateral, SnpCollateral};
pub use freshness::FreshnessPolicy;
pub use moment::UnixSeconds;
pub use quote::{EvidenceKind, Quote};
pub use reason::{Reason, Refused, Step};
pub use roots::{ProductionRoots, SimulationRoots, TrustRoots};
pub use tcb::TcbStatus;
pub use verify::Verifier;
