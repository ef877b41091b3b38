//! Contents of files and environment variables: untouched bytes or compiled templates.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::bytes::decode_base64;
use super::document::Node;
use super::field::Field;
use super::model::{Content, Name};
use super::path::Quoted;
use super::report::{Limit, ManifestError, Reported, WarningKind};
use crate::secret::spec::SecretSpec;
use crate::template::{self, Place, Template, TemplateError};

pub(super) const FIELDS: &[&str] = &["Data", "Encoding", "NoTemplates"];

/// References of all different templates together. A template that walks over all secrets refers to each of
/// them, so that without a bound a small document could ask for more memory than there is.
const REFERENCES: usize = 4_000_000;

/// Compiles templates, each text once.
pub(super) struct Contents<'d, 's> {
    specs: &'s BTreeMap<Name, SecretSpec>,
    files: HashMap<Cow<'d, [u8]>, Outcome>,
    variables: HashMap<Cow<'d, [u8]>, Outcome>,
    references: usize,
}

/// What became of a template; told again wherever its text stands.
struct Outcome {
    template: Option<Arc<Template>>,
    errors: Vec<TemplateError>,
    warnings: Vec<TemplateError>,
}

impl<'d, 's> Contents<'d, 's> {
    /// For a manifest with these secrets.
    pub fn new(specs: &'s BTreeMap<Name, SecretSpec>) -> Self {
        Self {
            specs,
            files: HashMap::new(),
            variables: HashMap::new(),
            references: 0,
        }
    }

    /// Counts references that the manifest keeps.
    ///
    /// # Errors
    /// Together they are more than the bound.
    pub fn count_references(&mut self, more: usize, field: &Field<'_, '_>) -> Result<(), ManifestError> {
        self.references = self.references.saturating_add(more);
        if self.references <= REFERENCES {
            return Ok(());
        }
        let path = field.path.to_string();
        Err(ManifestError::TooLarge {
            limit: Limit::References,
            allowed: REFERENCES,
            path,
        })
    }

    /// One content; `None` when it has a problem, which is reported.
    pub fn read(&mut self, field: &Field<'_, 'd>, place: Place) -> Result<Option<Content>, ManifestError> {
        let Ok((bytes, templates)) = decode(field) else {
            return Ok(None);
        };
        if place == Place::Env && bytes.contains(&0) {
            field.problem("expected no NUL bytes in an environment variable");
            return Ok(None);
        }
        if !templates || !bytes.windows(2).any(|pair| pair == b"{{") {
            return Ok(Some(Content::Verbatim(bytes.as_ref().into())));
        }
        let outcomes = match place {
            Place::File => &self.files,
            Place::Env => &self.variables,
        };
        if let Some(outcome) = outcomes.get(&bytes) {
            return Ok(outcome.tell(field));
        }
        let outcome = compile(&bytes, place, self.specs);
        let content = outcome.tell(field);
        let references = outcome.template.as_ref().map(|template| template.references());
        let count = references.map_or(0, |references| {
            references.secrets.len() + references.previous.len()
        });
        match place {
            Place::File => self.files.insert(bytes, outcome),
            Place::Env => self.variables.insert(bytes, outcome),
        };
        self.count_references(count, field)?;
        Ok(content)
    }
}

impl Outcome {
    fn tell(&self, field: &Field<'_, '_>) -> Option<Content> {
        for error in &self.errors {
            field.problem(error);
        }
        for warning in &self.warnings {
            field.warn(WarningKind::Template, warning);
        }
        self.template.clone().map(Content::Template)
    }
}

fn compile(source: &[u8], place: Place, specs: &BTreeMap<Name, SecretSpec>) -> Outcome {
    match template::compile(source, place, specs) {
        Ok(compiled) => Outcome {
            template: Some(Arc::new(compiled.template)),
            errors: Vec::new(),
            warnings: compiled.warnings,
        },
        Err(errors) => Outcome {
            template: None,
            errors,
            warnings: Vec::new(),
        },
    }
}

/// The bytes, and whether they may be a template.
fn decode<'d>(field: &Field<'_, 'd>) -> Result<(Cow<'d, [u8]>, bool), Reported> {
    match field.given() {
        Some(Node::Text(text)) => Ok((Cow::Borrowed(text.as_bytes()), true)),
        Some(Node::Object(_)) => {
            let object = field.object(FIELDS)?;
            let data_field = object.field("Data");
            let data = data_field.text()?.unwrap_or_default();
            let templates = !object.field("NoTemplates").flag();
            Ok((
                decode_data(&data_field, data, &object.field("Encoding"))?,
                templates,
            ))
        }
        _ => Err(field.expected("a string or an object with Data, Encoding and NoTemplates")),
    }
}

fn decode_data<'d>(
    data_field: &Field<'_, '_>,
    data: &'d str,
    encoding_field: &Field<'_, '_>,
) -> Result<Cow<'d, [u8]>, Reported> {
    let encoding = encoding_field.text()?.unwrap_or("string");
    if encoding.eq_ignore_ascii_case("string") {
        Ok(Cow::Borrowed(data.as_bytes()))
    } else if encoding.eq_ignore_ascii_case("base64") {
        let bytes = decode_base64(data);
        Ok(Cow::Owned(bytes.ok_or_else(|| {
            data_field.problem("expected base64 with padding")
        })?))
    } else if encoding.eq_ignore_ascii_case("hex") {
        Ok(Cow::Owned(hex::decode(data).map_err(|_| {
            data_field.problem("expected pairs of hexadecimal digits")
        })?))
    } else {
        let encoding = Quoted(encoding);
        Err(encoding_field.problem(format_args!("expected string, base64 or hex, found {encoding}")))
    }
}
