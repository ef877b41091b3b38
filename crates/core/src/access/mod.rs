//! Who calls, and what they may do (`spec/01`, "Users, Roles").
//!
//! A certificate becomes a [`Caller`] by [`recognise`], a caller and what he wants become a permit. Permits borrow
//! from the state they were checked on and are made nowhere else; the decisions that write need one.

mod permit;
mod user;

pub(crate) use permit::{Permit, RaisePackages, ReadSecrets, UpdateManifest, WriteSecrets, updaters};
pub use user::{Caller, Unrecognised, UserIndex, recognise, recognise_marble};
