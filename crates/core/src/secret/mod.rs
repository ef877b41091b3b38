//! Secrets: how they are defined, what their values are, and how values come to be.

pub mod derive;
pub mod generate;
pub mod spec;
pub mod upload;
pub mod value;
