//! The MarbleRun Coordinator as a library; `main.rs` only starts it.

pub mod dice;
