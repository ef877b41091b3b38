//! Contents of files and environment variables as the author wrote them: templates are not compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compile::SECTIONS;
use super::content::FIELDS;
use super::document::{Node, parse};
use super::field::{Field, Names};
use super::marbles::{FIELDS as MARBLE_FIELDS, PARAMETERS};
use super::model::{Manifest, Name};
use super::report::{ManifestError, Report, Reported};

/// A content as it stands in the manifest, with what was left out put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentAsWritten {
    /// `Data`
    pub data: String,
    /// `Encoding` in lower case: `string`, `base64` or `hex`.
    pub encoding: String,
    /// `NoTemplates`
    pub no_templates: bool,
}

/// `Parameters` of a marble as they stand in the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ParametersAsWritten {
    /// `Files`
    pub files: BTreeMap<String, ContentAsWritten>,
    /// `Env`
    pub env: BTreeMap<String, ContentAsWritten>,
}

/// Reads the parameters of all marbles of a checked manifest from its bytes.
///
/// # Errors
/// [`ManifestError`]: never for a manifest that was checked.
pub(crate) fn parameters_as_written(
    manifest: &Manifest,
) -> Result<BTreeMap<Name, ParametersAsWritten>, ManifestError> {
    let document = parse(&manifest.raw, None)?;
    let report = Report::default();
    let read = read(&document, &report);
    report.finish()?;
    // What could not be read was reported.
    Ok(read.unwrap_or_default())
}

fn read(document: &Node<'_>, report: &Report) -> Result<BTreeMap<Name, ParametersAsWritten>, Reported> {
    let root = Field::root(document, report).object(SECTIONS)?;
    let marbles = root.field("Marbles");
    let mut all = BTreeMap::new();
    for (name, marble) in marbles.entries(Names::Ordinary) {
        let marble = marble.object(MARBLE_FIELDS)?;
        let parameters = marble.field("Parameters");
        let parameters = parameters.object(PARAMETERS)?;
        let written = ParametersAsWritten {
            files: contents(&parameters.field("Files"), Names::Paths)?,
            env: contents(&parameters.field("Env"), Names::Variables)?,
        };
        all.insert(Arc::from(name), written);
    }
    Ok(all)
}

fn contents(field: &Field<'_, '_>, names: Names) -> Result<BTreeMap<String, ContentAsWritten>, Reported> {
    let entries = field.entries(names).into_iter();
    entries
        .map(|(name, field)| Ok((name.to_owned(), content(&field)?)))
        .collect()
}

fn content(field: &Field<'_, '_>) -> Result<ContentAsWritten, Reported> {
    if let Some(Node::Text(text)) = field.given() {
        return Ok(ContentAsWritten {
            data: text.clone().into_owned(),
            encoding: "string".to_owned(),
            no_templates: false,
        });
    }
    let object = field.object(FIELDS)?;
    Ok(ContentAsWritten {
        data: object.field("Data").text()?.unwrap_or_default().to_owned(),
        encoding: object
            .field("Encoding")
            .text()?
            .unwrap_or("string")
            .to_ascii_lowercase(),
        no_templates: object.field("NoTemplates").flag(),
    })
}
