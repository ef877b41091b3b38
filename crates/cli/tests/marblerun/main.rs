//! The real program: `marblerun` as scripts call it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod collateral;
mod evidence;
mod offline;
mod online;
mod quote;
mod recover;
#[path = "../../../client/tests/server/mod.rs"]
mod server;
mod support;
mod top;
mod users;
