//! What is wrong with a manifest: all of it, each with the path of the value.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use super::path::Path;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `Marbles.frontend.Parameters.Env.KEY`, items of lists as `Argv[2]`; `manifest` for the document.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Something the author should know about a manifest that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What sort of thing.
    pub kind: WarningKind,
    /// Where, as in [`Problem`].
    pub path: String,
    /// What was seen and what becomes of it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Sorts of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WarningKind {
    /// A field that no manifest has: it is ignored.
    UnknownField,
    /// A rule for packages broken by a debug package or by one that no marble refers to, or an id or a status
    /// that matches nothing.
    PackageRule,
    /// Old spellings in a template, and what else compiling it showed.
    Template,
    /// A value that is allowed but does nothing where it stands.
    NoEffect,
}

/// A limit of [`super::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`super::Limits::bytes`]
    Bytes,
    /// [`super::Limits::entries`]
    Entries,
    /// [`super::Limits::NESTING`]
    Nesting,
    /// [`super::Limits::VALUES`]
    Values,
    /// References from templates to secrets, all templates together: 4,000,000.
    References,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes (limit-manifest)",
            Self::Entries => "entries (limit-entries)",
            Self::Nesting => "levels of nesting",
            Self::Values => "values",
            Self::References => "references from templates to secrets",
        })
    }
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A limit is exceeded.
    #[error("manifest is too large: {path} has more than {allowed} {limit}")]
    TooLarge {
        /// Which limit.
        limit: Limit,
        /// Its value.
        allowed: usize,
        /// What exceeds it.
        path: String,
    },
    /// Not a JSON document in UTF-8.
    #[error("manifest is not valid JSON: {message} at line {line} column {column}")]
    Syntax {
        /// Line of the document, from 1.
        line: usize,
        /// Column in the line, from 1; 0 at the start of a line.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// Rules are broken.
    #[error("{}", list(problems, *omitted))]
    Problems {
        /// The first 100 problems.
        problems: Vec<Problem>,
        /// How many more there are.
        omitted: usize,
    },
}

/// All problems, one a line.
fn list(problems: &[Problem], omitted: usize) -> String {
    let mut lines = String::from("checking manifest: ");
    for (index, problem) in problems.iter().enumerate() {
        if index > 0 {
            lines.push('\n');
        }
        lines.push_str(&problem.to_string());
    }
    if omitted > 0 {
        lines.push_str(&format!("\nand {omitted} more problems"));
    }
    lines
}

/// How many problems, and how many warnings of each kind, are kept.
const KEPT: usize = 100;

/// A problem was reported where the value should have been; nothing more needs to be said about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported;

/// Collects problems and warnings. Shared by all who check.
#[derive(Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    problem_count: Cell<usize>,
    warnings: RefCell<Vec<Warning>>,
    warning_counts: RefCell<BTreeMap<WarningKind, usize>>,
}

impl Report {
    /// Adds a problem.
    pub fn problem(&self, path: &Path<'_>, message: impl fmt::Display) -> Reported {
        if self.problem_count.get() < KEPT {
            let problem = Problem {
                path: path.to_string(),
                message: message.to_string(),
            };
            self.problems.borrow_mut().push(problem);
        }
        self.problem_count.set(self.problem_count.get() + 1);
        Reported
    }

    /// Adds a warning.
    pub fn warning(&self, kind: WarningKind, path: &Path<'_>, message: impl fmt::Display) {
        let mut counts = self.warning_counts.borrow_mut();
        let count = counts.entry(kind).or_default();
        if *count < KEPT {
            let warning = Warning {
                kind,
                path: path.to_string(),
                message: message.to_string(),
            };
            self.warnings.borrow_mut().push(warning);
        }
        *count += 1;
    }

    /// How many problems there are so far.
    pub fn problem_count(&self) -> usize {
        self.problem_count.get()
    }

    /// The warnings, or the error if there was any problem.
    pub fn finish(self) -> Result<Vec<Warning>, ManifestError> {
        let problems = self.problems.into_inner();
        if !problems.is_empty() {
            let omitted = self.problem_count.get().saturating_sub(problems.len());
            return Err(ManifestError::Problems { problems, omitted });
        }
        let mut warnings = self.warnings.into_inner();
        for (kind, count) in self.warning_counts.into_inner() {
            if let Some(more) = count.checked_sub(KEPT).filter(|more| *more > 0) {
                let message = format!("{more} more warnings of this kind ({kind:?})");
                warnings.push(Warning {
                    kind,
                    path: "manifest".to_owned(),
                    message,
                });
            }
        }
        Ok(warnings)
    }
}

/// What becomes of reference values that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The manifest is refused.
    IsAProblem,
    /// Evidence of that TEE never matches the package; a name that is not known is ignored: a manifest that is in
    /// force stays in force.
    MatchesNothing,
}
