//! `Marbles`: the services.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::content::Contents;
use super::field::{Field, Names};
use super::model::{Content, Marble, Name, TlsTag};
use super::report::{ManifestError, Reported, WarningKind};
use super::section::Section;
use crate::template::{Place, References};

pub(super) const FIELDS: &[&str] = &[
    "Package",
    "MaxActivations",
    "Parameters",
    "Roles",
    "TLS",
    "DisableSecretBinding",
];
pub(super) const PARAMETERS: &[&str] = &["Files", "Env", "Argv"];

/// What marbles refer to.
pub(super) struct Others<'a> {
    pub packages: &'a Section<'a, 'a>,
    pub roles: &'a Section<'a, 'a>,
    pub tls: &'a Section<'a, 'a>,
    pub tags: &'a BTreeMap<Name, TlsTag>,
}

/// Reads the section.
///
/// # Errors
/// Only where reading must not go on; problems are reported.
pub(super) fn read<'d>(
    section: &Section<'_, 'd>,
    others: &Others<'_>,
    contents: &mut Contents<'d, '_>,
) -> Result<Vec<(Name, Marble)>, ManifestError> {
    let mut unions = Unions::default();
    let mut marbles = Vec::with_capacity(section.entries.len());
    for (name, field) in &section.entries {
        if let Some(marble) = marble(field, others, contents, &mut unions)? {
            marbles.push((name.clone(), marble));
        }
    }
    Ok(marbles)
}

fn marble<'d>(
    field: &Field<'_, 'd>,
    others: &Others<'_>,
    contents: &mut Contents<'d, '_>,
    unions: &mut Unions,
) -> Result<Option<Marble>, ManifestError> {
    let Ok(object) = field.object(FIELDS) else {
        return Ok(None);
    };
    let package_field = object.field("Package");
    let package = package_field
        .required_text("expected the name of a package")
        .and_then(|name| others.packages.resolve(&package_field, name));
    let max_activations = object
        .field("MaxActivations")
        .number(u64::MAX)
        .ok()
        .flatten()
        .unwrap_or(0);
    let roles = others.roles.resolve_list(&object.field("Roles"));
    let tls_field = object.field("TLS");
    let tls = others.tls.resolve_list(&tls_field);
    let tags = tls.iter().filter_map(|name| others.tags.get(name));
    let is_empty = |tag: &TlsTag| tag.outgoing.is_empty() && tag.incoming.is_empty();
    if !tls.is_empty() && tags.clone().count() == tls.len() && tags.clone().all(is_empty) {
        tls_field.warn(
            WarningKind::NoEffect,
            "none of these tags has an entry: existing marble runtimes refuse to start with this",
        );
    }
    let disable_secret_binding = object.field("DisableSecretBinding").flag();

    let parameters_field = object.field("Parameters");
    // What is wrong with the parameters must not hide that the package is in use.
    let (files, env, argv) = match parameters_field.object(PARAMETERS) {
        Err(Reported) => Default::default(),
        Ok(parameters) => (
            read_contents(&parameters.field("Files"), Names::Paths, Place::File, contents)?,
            read_contents(&parameters.field("Env"), Names::Variables, Place::Env, contents)?,
            parameters
                .field("Argv")
                .texts()
                .iter()
                .map(|(_, text)| (*text).to_owned())
                .collect(),
        ),
    };

    let references = unions.of(&files, &env, tags, field, contents)?;
    let Ok(package) = package else { return Ok(None) };
    Ok(Some(Marble {
        package,
        max_activations,
        files,
        env,
        argv,
        roles,
        tls,
        disable_secret_binding,
        references,
    }))
}

fn read_contents<'d>(
    field: &Field<'_, 'd>,
    names: Names,
    place: Place,
    contents: &mut Contents<'d, '_>,
) -> Result<BTreeMap<Name, Content>, ManifestError> {
    let mut map = BTreeMap::new();
    for (name, content_field) in field.entries(names) {
        if let Some(content) = contents.read(&content_field, place)? {
            map.insert(Name::from(name), content);
        }
    }
    Ok(map)
}

/// Unions of references. Marbles made of the same templates share one: there may be many of them.
#[derive(Default)]
struct Unions {
    /// Keyed by where the templates live and by the certificates of the TLS tags, both sorted.
    known: HashMap<(Vec<usize>, Vec<Name>), Arc<References>>,
}

impl Unions {
    fn of<'t>(
        &mut self,
        files: &BTreeMap<Name, Content>,
        env: &BTreeMap<Name, Content>,
        tags: impl Iterator<Item = &'t TlsTag>,
        field: &Field<'_, '_>,
        contents: &mut Contents<'_, '_>,
    ) -> Result<Arc<References>, ManifestError> {
        let mut templates: Vec<_> = files
            .values()
            .chain(env.values())
            .filter_map(|content| match content {
                Content::Template(template) => Some(template),
                Content::Verbatim(_) => None,
            })
            .collect();
        templates.sort_unstable_by_key(|template| Arc::as_ptr(template).addr());
        templates.dedup_by_key(|template| Arc::as_ptr(template).addr());
        let incoming = tags.flat_map(|tag| &tag.incoming);
        let mut certificates: Vec<Name> = incoming.filter_map(|entry| entry.certificate.clone()).collect();
        certificates.sort_unstable();
        certificates.dedup();

        let addresses = templates
            .iter()
            .map(|template| Arc::as_ptr(template).addr())
            .collect();
        let key = (addresses, certificates);
        if let Some(union) = self.known.get(&key) {
            return Ok(union.clone());
        }
        let mut union = References::default();
        union.secrets.extend(key.1.iter().cloned());
        for template in templates {
            let references = template.references();
            union.secrets.extend(references.secrets.iter().cloned());
            union.previous.extend(references.previous.iter().cloned());
            union.seal_key |= references.seal_key;
        }
        contents.count_references(union.secrets.len() + union.previous.len(), field)?;
        let union = Arc::new(union);
        self.known.insert(key, union.clone());
        Ok(union)
    }
}
