//! The marble side of MarbleRun (spec/04).
//!
//! Two things live here:
//!
//! * For programs that *are* marbles: [`identity`] reads what the Coordinator handed out, [`tls`] makes the rustls
//!   configurations to talk to other marbles with, [`counter`] raises monotonic counters.
//! * For what runs *before* a marble's program: [`premain`] gets the marble activated and becomes its program. The
//!   program `marble-run` is a few lines around it.

mod address;
pub mod counter;
mod direct_issue;
pub mod identity;
pub mod premain;
pub mod tls;

pub use address::{AddressError, CoordinatorAddress};
pub use identity::{Identity, MarbleName};
