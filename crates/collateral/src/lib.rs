//! Collateral of TEEs (spec/08): what the verifier in [`marblerun_attestation`] names and does not fetch. It is fetched
//! here from Intel's and AMD's services or caches of them, read from a directory, or made by the software TEE; checked
//! below the pinned roots; kept until it is out of date, and fetched anew before.
//!
//! [`Collaterals`] is all that Coordinator, client and command line need. What is promised is in `docs/collateral.md`,
//! why it is a crate of its own in `docs/decisions/0006-collateral-is-a-crate-of-its-own.md`.
//!
//! Collateral is signed by the manufacturers. Who serves it can withhold it and learns who asks; no more.
//!
//! Time comes from the caller's [`Clock`]. No lock is held while something is read, fetched or verified.

#![forbid(unsafe_code)]

mod amd;
mod cache;
mod collaterals;
mod config;
mod directory;
mod error;
#[cfg(feature = "fakes")]
pub mod fakes;
mod fetch;
mod flight;
mod http;
mod inspect;
mod intel;
pub mod item;
mod landing;
mod pace;
mod piece;
mod refresh;
mod shortfall;
mod snp;
#[cfg(feature = "software-tee")]
mod software_tee;
mod source;
pub mod stats;
mod url;

use std::sync::Arc;

use marblerun_attestation::UnixSeconds;

pub use self::collaterals::{Asker, Collaterals, Freshness, Obtained};
pub use self::config::{Config, Limits, Services, Source, StartError, Trust};
pub use self::error::{CollateralError, Document, ServiceName};
pub use self::inspect::Inspected;
pub use self::item::Item;
pub use self::stats::Stats;
pub use self::url::{NotAServiceUrl, ServiceUrl};

/// What time it is.
pub type Clock = Arc<dyn Fn() -> UnixSeconds + Send + Sync>;

/// The clock of the machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 makes everything not yet valid.
        UnixSeconds(since.map_or(0, |since| since.as_secs()))
    })
}
