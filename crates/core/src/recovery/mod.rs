//! Recovery secrets: how the data encryption key is given to the holders of recovery keys (`spec/06`).

mod collect;
mod field;
mod scheme;
pub mod shamir;
mod split;
pub mod xor;

pub use collect::{Collected, Lock, Progress, RecoveredKey, Recovery, is_plain_length};
pub use scheme::{CombineError, MAX_SHARES, RecoveryPlan, RecoveryScheme, prescribed};
pub use split::split;
