//! Which templates refer to which user-defined secrets.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::model::{Content, Marble, Name};
use crate::secret::spec::SecretSpec;
use crate::template::Template;

/// Where templates stand that refer to user-defined secrets. Made once for each manifest: a secret is written at the cost of
/// the templates that need it, however many others there are.
#[derive(Default)]
pub struct TemplateIndex(BTreeMap<Name, BTreeSet<Place>>);

/// Where a template stands, first of all its places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The marble type.
    pub marble_type: Name,
    /// Of its files or of its variables.
    pub part: Part,
    /// The path or the variable.
    pub name: Name,
}

/// A part of what a marble starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `Parameters.Files`
    File,
    /// `Parameters.Env`
    Variable,
}

impl TemplateIndex {
    /// Of these marbles and secrets.
    pub(super) fn of(marbles: &BTreeMap<Name, Marble>, secrets: &BTreeMap<Name, SecretSpec>) -> Self {
        let mut index = Self::default();
        if !secrets.values().any(|spec| spec.user_defined) {
            return index;
        }
        let mut seen = HashSet::new();
        for (marble_type, marble) in marbles {
            for part in [Part::File, Part::Variable] {
                for (name, content) in part.contents(marble) {
                    let Content::Template(template) = content else {
                        continue;
                    };
                    if seen.insert(Arc::as_ptr(template).addr()) {
                        let place = || Place {
                            marble_type: Arc::clone(marble_type),
                            part,
                            name: Arc::clone(name),
                        };
                        index.add(template, place, secrets);
                    }
                }
            }
        }
        index
    }

    fn add(&mut self, template: &Template, place: impl Fn() -> Place, secrets: &BTreeMap<Name, SecretSpec>) {
        let references = template.references();
        for name in references.secrets.iter().chain(&references.previous) {
            if secrets.get(name).is_some_and(|spec| spec.user_defined) {
                self.0.entry(Arc::clone(name)).or_default().insert(place());
            }
        }
    }

    /// Where the templates stand that refer to a user-defined secret, each once, in the order of marble types.
    pub fn templates_with<'s>(&'s self, secret: &str) -> impl ExactSizeIterator<Item = &'s Place> + use<'s> {
        static NONE: BTreeSet<Place> = BTreeSet::new();
        self.0.get(secret).unwrap_or(&NONE).iter()
    }
}

impl Part {
    /// That part of a marble.
    pub fn contents(self, marble: &Marble) -> &BTreeMap<Name, Content> {
        match self {
            Self::File => &marble.files,
            Self::Variable => &marble.env,
        }
    }

    /// As messages call what is in it.
    pub const fn entry(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Variable => "env variable",
        }
    }
}

impl Place {
    /// The template, and the marble it is for.
    pub fn find<'m>(&self, marbles: &'m BTreeMap<Name, Marble>) -> Option<(&'m Template, &'m Marble)> {
        let marble = marbles.get(&self.marble_type)?;
        match self.part.contents(marble).get(&self.name)? {
            Content::Template(template) => Some((template, marble)),
            Content::Verbatim(_) => None,
        }
    }
}
