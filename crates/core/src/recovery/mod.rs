//! Recovery secrets: how the data encryption key is given to the holders of recovery keys (`spec/06`).

mod field;
mod scheme;
pub mod shamir;
mod split;
pub mod xor;

pub use scheme::{CombineError, MAX_SHARES, RecoveryPlan, RecoveryScheme};
pub use split::split;
