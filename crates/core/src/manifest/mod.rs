//! The manifest: a document as written becomes a checked [`Manifest`] or a list of problems (`spec/01`).

mod model;

pub use model::*;
