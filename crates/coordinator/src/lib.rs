//! The Coordinator: the shell around `marblerun_core`. Sockets, files, clock and dice are here; rules are not.

pub mod certificate;
pub mod config;
pub mod dice;
pub mod listen;
pub mod observe;
pub mod process;
pub mod ready;
pub mod seal;
pub mod store;
pub mod tls;
