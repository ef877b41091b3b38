//! The manifest: a document as written becomes a checked [`Manifest`] or a list of problems (`spec/01`).
//!
//! The way of a manifest: `document` reads the bytes into a tree that keeps what JSON libraries drop
//! (repeated fields, the author's spelling), `field` walks the tree and remembers the path, one file per
//! section turns fields into checked values, and `compile` puts the sections together. Nothing stops at the
//! first problem: `report` collects them.

mod budget;
mod bytes;
mod certificate_template;
mod compile;
mod config;
mod content;
mod contents_as_written;
mod document;
mod field;
mod hsm;
mod infrastructures;
mod marbles;
mod model;
mod name_constraints;
mod object_id;
mod package_update;
mod packages;
mod path;
mod pem;
mod public_key;
mod recovery_keys;
mod report;
mod roles;
mod secrets;
mod section;
mod snp;
mod subject;
mod tdx;
pub mod template_index;
mod tls;
mod uri;
mod users;

pub use compile::{check, reopen};
pub(crate) use contents_as_written::{ContentAsWritten, ParametersAsWritten, parameters_as_written};
pub use hsm::HsmEnvironment;
pub use model::*;
pub use package_update::package_update;
pub(crate) use package_update::security_versions;
pub(crate) use public_key::certificate_public_key;
pub use report::{Limit, ManifestError, Problem, Warning, WarningKind};

/// How large a manifest may be. What exceeds a limit is refused by the limit's name, never a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the document (`--limit-manifest`), 32 MiB by default.
    pub bytes: usize,
    /// Entries of a section (`--limit-entries`), 200,000 by default. Any other list or object may have as many,
    /// or [`Limits::FIELDS`] if that is more.
    pub entries: usize,
}

impl Limits {
    /// Levels of objects and lists in each other, the manifest itself being the first.
    pub const NESTING: usize = 64;
    /// What a list or an object that is no section may have in any case: room for every field of a structure.
    pub const FIELDS: usize = 1000;
    /// Values (objects, lists, strings, numbers…) in the whole document: bounds the memory a dense document of
    /// the permitted size can take.
    pub const VALUES: usize = 4_000_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 32 << 20,
            entries: 200_000,
        }
    }
}

/// A manifest that was accepted.
pub struct Checked {
    /// The manifest.
    pub manifest: Manifest,
    /// What the author should know. At most 100 of each kind; where there are more, the last one says how many.
    pub warnings: Vec<Warning>,
}
