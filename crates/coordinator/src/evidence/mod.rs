//! Evidence in the Coordinator (`spec/08`): its own, and that of others.

pub mod judge;
pub mod own;

pub use judge::{Judge, NotVerified};
pub use own::OwnEvidence;
