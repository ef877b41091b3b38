//! The template language of `Files` and `Env`: Go's `text/template` over bytes (`spec/02`, "Templates").
//!
//! A source becomes tokens (`lexer`), a tree (`parse`), is checked in every branch against the definitions of
//! the manifest (`check`), and is rendered as often as marbles are activated ([`render`]). Secrets are values
//! that only the encodings can look into (`encode`); everything made of them is wiped when it is dropped.

mod buffer;
mod builtin;
mod check;
mod check_call;
mod check_value;
mod encode;
mod escape;
mod format;
mod format_number;
mod functions;
mod lexer;
mod literal;
mod object;
mod parse;
mod parse_pipeline;
mod render;
mod scope;
mod shape;
mod token;
mod tree;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::manifest::Name;
use crate::pki::key::PrivateKey;
use crate::secret::spec::SecretSpec;
use crate::secret::value::{SecretBytes, SecretValue};

/// Where the output of a template goes; it decides which encodings are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A file: `hex`, `base64`, `pem`, `raw`.
    File,
    /// An environment variable: `hex`, `base64`, `pem`, `string`; no NUL bytes.
    Env,
}

/// A template that was checked against the secret definitions of its manifest.
pub struct Template {
    tree: tree::Tree,
    place: Place,
    references: References,
    strings: BTreeSet<Name>,
}

/// What a template needs to be rendered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References {
    /// Secrets whose current value is needed.
    pub secrets: BTreeSet<Name>,
    /// Secrets whose previous value is needed.
    pub previous: BTreeSet<Name>,
    /// Whether the virtual sealing key is needed.
    pub seal_key: bool,
}

/// Why a template is refused or could not be rendered. Never carries a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TemplateError {
    /// Line in the template, from 1.
    pub line: u32,
    /// What is wrong and what was expected.
    pub message: String,
    /// Set when rendering failed because this user-defined secret has no value yet.
    pub empty_secret: Option<Name>,
    /// Set when rendering failed because the value of this secret holds a NUL byte where none can be.
    pub nul_secret: Option<Name>,
}

/// The result of compiling.
pub struct Compiled {
    /// The template.
    pub template: Template,
    /// What the author should know: old spellings, a `pem` around key bytes.
    pub warnings: Vec<TemplateError>,
}

/// What a marble is given to render with. Values not referred to may be missing.
pub struct Data<'a> {
    /// All secret definitions of the manifest.
    pub specs: &'a BTreeMap<Name, SecretSpec>,
    /// Current values.
    pub secrets: &'a BTreeMap<Name, SecretValue>,
    /// Previous values.
    pub previous: &'a BTreeMap<Name, SecretValue>,
    /// `.MarbleRun.RootCA.Cert`: the Marble root, DER.
    pub root_ca: &'a Arc<[u8]>,
    /// `.MarbleRun.CoordinatorRoot.Cert`, DER.
    pub coordinator_root: &'a Arc<[u8]>,
    /// `.MarbleRun.CoordinatorIntermediate.Cert`, DER.
    pub coordinator_intermediate: &'a Arc<[u8]>,
    /// `.MarbleRun.MarbleCert.Cert`, DER.
    pub marble_certificate: &'a Arc<[u8]>,
    /// `.MarbleRun.MarbleCert.Private` and `.Public`.
    pub marble_key: &'a PrivateKey,
    /// `.MarbleRun.SealKey`, where it was asked for.
    pub seal_key: Option<&'a SecretBytes>,
}

impl Template {
    /// What rendering needs.
    pub fn references(&self) -> &References {
        &self.references
    }

    /// The plain secrets that the template gives to `string` by name.
    ///
    /// A NUL byte in the value of one of them would make every activation fail that renders the template, so it
    /// is refused when the value is written (`spec/02`, "Templates"). Names that are computed are not among them.
    pub fn strings(&self) -> &BTreeSet<Name> {
        &self.strings
    }
}

impl TemplateError {
    fn at(line: u32, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
            empty_secret: None,
            nul_secret: None,
        }
    }
}

/// Parses and checks a template, branches not taken included.
///
/// # Errors
/// All problems found, in the order of the text; of the grammar only the first one.
pub fn compile(
    source: &[u8],
    place: Place,
    specs: &BTreeMap<Name, SecretSpec>,
) -> Result<Compiled, Vec<TemplateError>> {
    let tree = parse::parse(source, place).map_err(|error| vec![error])?;
    let check::Findings {
        references,
        strings,
        warnings,
    } = check::check(&tree, place, specs)?;
    Ok(Compiled {
        template: Template {
            tree,
            place,
            references,
            strings,
        },
        warnings,
    })
}

/// Renders a template: at most 16 MiB of output and 100,000 steps.
///
/// A step is a node that is rendered, a command, a field, a round of a loop, or a KiB that functions or the output
/// take.
///
/// # Errors
/// An empty or missing value, what could not be checked before, or a bound that was exceeded.
pub fn render(template: &Template, data: &Data<'_>) -> Result<Zeroizing<Vec<u8>>, TemplateError> {
    render::render(&template.tree, template.place, data)
}
