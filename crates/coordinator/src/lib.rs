//! The Coordinator: the shell around `marblerun_core`. Sockets, files, clock and dice are here; rules are not.

pub mod assemble;
pub mod certificate;
mod client_threads;
pub mod collateral;
pub mod config;
pub mod dice;
pub mod evidence;
pub mod grpc;
pub mod keeper;
pub mod listen;
pub mod observe;
pub mod opening;
mod pace;
pub mod prefetch;
pub mod process;
pub mod ready;
pub mod recovery;
pub mod rest;
pub mod seal;
pub mod service;
pub mod startup;
pub mod store;
pub mod tee;
pub mod tls;
mod wanted;
