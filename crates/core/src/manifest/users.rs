//! `Users`: who may use the client API, known by certificate.

use std::collections::HashMap;
use std::sync::Arc;

use super::field::Field;
use super::model::{Name, User};
use super::path::Quoted;
use super::pem::first_block;
use super::public_key::check_certificate;
use super::section::Section;

const FIELDS: &[&str] = &["Certificate", "Roles"];

/// Reads the section.
pub(super) fn read(section: &Section<'_, '_>, roles: &Section<'_, '_>) -> Vec<(Name, User)> {
    let mut owners: HashMap<Arc<[u8]>, Name> = HashMap::new();
    let mut users = Vec::with_capacity(section.entries.len());
    for (name, field) in &section.entries {
        let Ok(object) = field.object(FIELDS) else {
            continue;
        };
        let role_names = roles.resolve_list(&object.field("Roles"));
        let certificate_field = object.field("Certificate");
        let Some(certificate) = certificate(&certificate_field) else {
            continue;
        };
        if let Some(owner) = owners.get(&certificate) {
            let owner = Quoted(owner);
            certificate_field.problem(format_args!(
                "this is the same certificate as that of user {owner}"
            ));
        } else {
            owners.insert(certificate.clone(), name.clone());
        }
        users.push((
            name.clone(),
            User {
                certificate,
                roles: role_names,
            },
        ));
    }
    users
}

fn certificate(field: &Field<'_, '_>) -> Option<Arc<[u8]>> {
    let text = field.required_text("expected an X.509 certificate in PEM").ok()?;
    let checked = first_block(text).map_err(str::to_owned).and_then(|block| {
        check_certificate(&block.der)?;
        Ok(block.der)
    });
    match checked {
        Ok(der) => Some(der.into()),
        Err(problem) => {
            field.problem(format_args!("expected an X.509 certificate in PEM: {problem}"));
            None
        }
    }
}
