//! What is wrong with a directory that has not what is looked for.

use std::io;
use std::sync::Arc;

use crate::directory::Content;
use crate::error::CollateralError;
use crate::piece::{Dated, Key};

/// What was found in the directory.
#[derive(Default)]
pub(crate) struct InDirectory {
    /// What passes, or is out of date beyond use.
    pub(crate) found: Option<Arc<Dated>>,
    /// What is wrong if that is nothing.
    pub(crate) shortfall: Shortfall,
}

/// Why the directory has nothing that can be used, for people. Empty: there is no directory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Shortfall {
    lacks: Option<String>,
    /// What has to be said even where callers look for a certain reason of the service.
    passed_over: Option<String>,
    unread: Option<String>,
}

impl Shortfall {
    /// A part is missing.
    pub(crate) fn lacks(what: &str) -> Self {
        Self {
            lacks: Some(format!("has no {what}")),
            ..Self::default()
        }
    }

    /// Nothing is there for `key`; what could not be read may have been it.
    pub(crate) fn nothing_of(key: &Key, content: &Content) -> Self {
        let unread = content.first_unread.as_ref().map(|(file, why)| {
            format!(
                "of {} that cannot be read, the first is {file}: {why}",
                match content.unread {
                    1 => "one file".to_owned(),
                    more => format!("{more} files"),
                }
            )
        });
        Self {
            unread,
            ..Self::lacks(&key.to_string())
        }
    }

    /// It cannot be read at all.
    pub(crate) fn unreadable(error: &io::Error) -> Self {
        Self {
            passed_over: Some(format!("cannot be read: {error}")),
            ..Self::default()
        }
    }

    /// Files that are for this, and do not hold. Of several, those that claim to last longest are told.
    pub(crate) fn passed_over(&mut self, files: &str, why: &CollateralError) {
        self.passed_over
            .get_or_insert_with(|| format!("has {files}, passed over because {why}"));
    }

    /// With what the service did.
    pub(crate) fn beside(self, error: CollateralError) -> CollateralError {
        let no_service = matches!(error, CollateralError::NotInDirectory { .. });
        let Self {
            lacks,
            passed_over,
            unread,
        } = self;
        let directory = match (passed_over, lacks, unread) {
            (Some(said), ..) => said,
            // Whoever sent the evidence is told that, and nothing of the directory.
            (None, ..) if error.is_about_evidence() => return error,
            (None, Some(lacks), Some(unread)) => format!("{lacks} ({unread})"),
            (None, Some(lacks), None) if !no_service => lacks,
            (None, ..) => return error,
        };
        let error = if no_service {
            CollateralError::NoService
        } else {
            error
        };
        CollateralError::Nowhere {
            directory,
            error: Box::new(error),
        }
    }
}
