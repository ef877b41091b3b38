//! Sections: entries with names that other sections refer to.

use std::collections::HashSet;

use super::field::{Field, Names};
use super::model::Name;
use super::path::Quoted;
use super::report::Reported;

/// A section of the manifest: its entries, and their names for those who refer to them.
pub(super) struct Section<'p, 'd> {
    title: &'static str,
    pub entries: Vec<(Name, Field<'p, 'd>)>,
    names: HashSet<Name>,
}

impl<'p, 'd> Section<'p, 'd> {
    /// Reads the names; the entries are for the file of the section.
    pub fn read(title: &'static str, field: &'p Field<'p, 'd>) -> Self {
        let entries: Vec<(Name, Field<'p, 'd>)> = field
            .entries(Names::Ordinary)
            .into_iter()
            .map(|(name, field)| (Name::from(name), field))
            .collect();
        let names = entries.iter().map(|(name, _)| Name::clone(name)).collect();
        Self {
            title,
            entries,
            names,
        }
    }

    /// The name, if there is an entry; else a problem of `field`.
    pub fn resolve(&self, field: &Field<'_, '_>, name: &str) -> Result<Name, Reported> {
        self.names.get(name).cloned().ok_or_else(|| {
            let (title, name) = (self.title, Quoted(name));
            field.problem(format_args!("there is no {name} in {title}"))
        })
    }

    /// A list of names of entries.
    pub fn resolve_list(&self, field: &Field<'_, '_>) -> Vec<Name> {
        field
            .texts()
            .iter()
            .filter_map(|(item, name)| self.resolve(item, name).ok())
            .collect()
    }
}
