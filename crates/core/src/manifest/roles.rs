//! `Roles`: what users and marbles may do.

use std::collections::{BTreeMap, BTreeSet};

use super::field::Field;
use super::model::{Name, Role};
use super::path::Quoted;
use super::section::Section;
use crate::secret::spec::SecretSpec;

const FIELDS: &[&str] = &["ResourceType", "ResourceNames", "Actions"];

/// Reads the section.
pub(super) fn read(
    section: &Section<'_, '_>,
    packages: &Section<'_, '_>,
    secrets: &Section<'_, '_>,
    specs: &BTreeMap<Name, SecretSpec>,
) -> Vec<(Name, Role)> {
    section
        .entries
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), role(field, packages, secrets, specs)?)))
        .collect()
}

fn role(
    field: &Field<'_, '_>,
    packages: &Section<'_, '_>,
    secrets: &Section<'_, '_>,
    specs: &BTreeMap<Name, SecretSpec>,
) -> Option<Role> {
    let object = field.object(FIELDS).ok()?;
    let resource_type = object.field("ResourceType");
    let (names, actions) = (object.field("ResourceNames"), object.field("Actions"));
    match resource_type
        .required_text("expected Packages, Secrets or Manifest")
        .ok()?
    {
        "Packages" => {
            let names = packages.resolve_list(&names).into_iter().collect();
            let update = permits(&actions, &["UpdateSecurityVersion"]).contains("UpdateSecurityVersion");
            Some(Role::Packages {
                update_security_version: if update { names } else { BTreeSet::new() },
            })
        }
        "Secrets" => {
            let permitted = permits(&actions, &["ReadSecret", "WriteSecret"]);
            let (may_read, may_write) = (
                permitted.contains("ReadSecret"),
                permitted.contains("WriteSecret"),
            );
            let (mut read, mut write) = (BTreeSet::new(), BTreeSet::new());
            for (item, name) in names.texts() {
                let Ok(name) = secrets.resolve(&item, name) else {
                    continue;
                };
                let spec = specs.get(&name);
                if may_write && spec.is_some_and(|spec| !spec.user_defined) {
                    let name = Quoted(&name);
                    item.problem(format_args!(
                        "WriteSecret needs a user-defined secret, {name} is not user-defined"
                    ));
                }
                if may_read && spec.is_some_and(SecretSpec::is_private) {
                    let name = Quoted(&name);
                    item.problem(format_args!(
                        "ReadSecret needs a shared or user-defined secret, {name} has a value of its own for each marble"
                    ));
                }
                if may_read {
                    read.insert(name.clone());
                }
                if may_write {
                    write.insert(name);
                }
            }
            Some(Role::Secrets { read, write })
        }
        "Manifest" => {
            if !names.is_zero() {
                names.problem("expected no names: there is only one manifest");
            }
            Some(Role::Manifest {
                update: permits(&actions, &["UpdateManifest"]).contains("UpdateManifest"),
            })
        }
        other => {
            let other = Quoted(other);
            resource_type.problem(format_args!(
                "expected Packages, Secrets or Manifest, found {other}"
            ));
            None
        }
    }
}

/// The actions of the list, each as the specification spells it.
fn permits(actions: &Field<'_, '_>, known: &'static [&'static str]) -> BTreeSet<&'static str> {
    let mut permitted = BTreeSet::new();
    for (item, text) in actions.texts() {
        match known.iter().find(|known| known.eq_ignore_ascii_case(text)) {
            Some(action) => drop(permitted.insert(*action)),
            None => {
                let (known, text) = (known.join(" or "), Quoted(text));
                item.problem(format_args!(
                    "expected {known} for this resource type, found {text}"
                ));
            }
        }
    }
    permitted
}
