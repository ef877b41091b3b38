//! What travels between MarbleRun's servers and clients: types and limits, no sockets.

#![forbid(unsafe_code)]

pub mod marble;
pub mod rest;
