//! `TLS`: connections to wrap without the marble's knowledge.

use std::collections::BTreeMap;

use super::field::Field;
use super::model::{Name, TlsIncoming, TlsOutgoing, TlsTag};
use super::path::Quoted;
use super::section::Section;
use crate::secret::spec::{SecretKind, SecretSpec};

const TAG: &[&str] = &["Outgoing", "Incoming"];
const OUTGOING: &[&str] = &["Port", "Addr"];
const INCOMING: &[&str] = &["Port", "Cert", "DisableClientAuth"];

/// Reads the section.
pub(super) fn read(
    section: &Section<'_, '_>,
    secrets: &Section<'_, '_>,
    specs: &BTreeMap<Name, SecretSpec>,
) -> Vec<(Name, TlsTag)> {
    section
        .entries
        .iter()
        .filter_map(|(name, field)| {
            let object = field.object(TAG).ok()?;
            let (outgoing_field, incoming_field) = (object.field("Outgoing"), object.field("Incoming"));
            let outgoing = outgoing_field
                .items()
                .ok()
                .flatten()
                .into_iter()
                .flatten()
                .filter_map(|item| outgoing(&item));
            let incoming = incoming_field
                .items()
                .ok()
                .flatten()
                .into_iter()
                .flatten()
                .filter_map(|item| incoming(&item, secrets, specs));
            Some((
                name.clone(),
                TlsTag {
                    outgoing: outgoing.collect(),
                    incoming: incoming.collect(),
                },
            ))
        })
        .collect()
}

fn outgoing(item: &Field<'_, '_>) -> Option<TlsOutgoing> {
    let object = item.object(OUTGOING).ok()?;
    let port = object
        .field("Port")
        .required_text("expected the port to connect to, as a string");
    let address = object
        .field("Addr")
        .required_text("expected the host to connect to");
    Some(TlsOutgoing {
        port: port.ok()?.to_owned(),
        address: address.ok()?.to_owned(),
    })
}

fn incoming(
    item: &Field<'_, '_>,
    secrets: &Section<'_, '_>,
    specs: &BTreeMap<Name, SecretSpec>,
) -> Option<TlsIncoming> {
    let object = item.object(INCOMING).ok()?;
    let port = object
        .field("Port")
        .required_text("expected the port to listen on, as a string");
    let disable = object.field("DisableClientAuth");
    let disable_given = disable.try_flag();
    let disable_client_auth = disable_given.unwrap_or(false);
    let field = object.field("Cert");
    let certificate = match field.text().ok()? {
        None => {
            if disable_client_auth {
                disable.problem("client authentication can be disabled only together with Cert");
            }
            None
        }
        Some(name) => {
            let name = secrets.resolve(&field, name).ok()?;
            let is_certificate = |spec: &SecretSpec| matches!(spec.kind, SecretKind::Certificate { .. });
            if specs.get(&name).is_some_and(|spec| !is_certificate(spec)) {
                let name = Quoted(&name);
                field.problem(format_args!(
                    "expected a secret of a certificate type, {name} is not one"
                ));
            }
            if disable_given == Ok(false) {
                disable.problem("expected true: clients cannot be authenticated where Cert is given");
            }
            Some(name)
        }
    };
    Some(TlsIncoming {
        port: port.ok()?.to_owned(),
        certificate,
        disable_client_auth,
    })
}
