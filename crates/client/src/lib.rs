//! A verified MarbleRun Coordinator as a type.
//!
//! An [`Attested`] is a connection to a Coordinator that was verified when it was opened, and every request goes
//! over that connection: nothing verifies one connection and talks on another. There are three ways to open
//! one, all of [`Connector`]: against a pinned certificate ([`Connector::pinned`]), against the Coordinator's
//! evidence ([`Connector::by_evidence`]), and without verification ([`Connector::dangerous_unverified`]), for
//! Coordinators in simulation.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use marblerun_client::{Connector, Pin};
//!
//! let pin = Pin::from_pem(&std::fs::read("coordinator-cert.pem")?)?;
//! let coordinator = Connector::new("localhost:4433".parse()?).pinned(&pin).await?;
//! println!("{}", coordinator.status().await?.message);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod address;
mod api;
mod attested;
mod certificate;
mod connection;
mod error;
mod evidence;
mod guest;
mod identity;
mod recovery;
mod verification;
mod verifier;

pub use address::{Address, AddressError};
pub use api::manifest_fingerprint;
pub use attested::{Attested, Connector, Limits, Trust};
pub use certificate::{CertificateChain, CertificateError, Pin};
pub use error::{ConnectError, RefusedEvidence, RequestError};
pub use evidence::{EvidencePolicy, ExpectedEnclave, PolicyError};
pub use guest::{ExpectedProducts, ExpectedSnpGuest, ExpectedTcb, ExpectedTdxGuest};
pub use identity::{ClientIdentity, IdentityError};
/// The types that requests and replies are made of.
pub use marblerun_wire::{is_hidden, rest};
pub use recovery::{RecoveryKey, RecoveryKeyError, encrypt_recovery_secret, is_plain_recovery_secret};
pub use verification::{EvidenceError, EvidenceVerifier, system_clock};
