//! Secrets: how they are defined, what their values are, and how values come to be.

pub mod spec;
pub mod value;
