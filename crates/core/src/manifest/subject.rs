//! `Cert.Subject`: Go's `pkix.Name` in its JSON form.

use der::asn1::PrintableStringRef;

use super::field::Field;
use super::object_id;
use crate::secret::spec::{ObjectId, SubjectTemplate};

const FIELDS: &[&str] = &[
    "Country",
    "Organization",
    "OrganizationalUnit",
    "Locality",
    "Province",
    "StreetAddress",
    "PostalCode",
    "SerialNumber",
    "CommonName",
    "ExtraNames",
    // What Go fills when it parses a certificate: accepted and not looked at.
    "Names",
];

/// Reads the subject; the common name is left empty when none is given.
pub(super) fn read(field: &Field<'_, '_>) -> SubjectTemplate {
    let Ok(object) = field.object(FIELDS) else {
        return SubjectTemplate::default();
    };
    SubjectTemplate {
        country: values(&object.field("Country"), true),
        organization: values(&object.field("Organization"), false),
        organizational_unit: values(&object.field("OrganizationalUnit"), false),
        locality: values(&object.field("Locality"), false),
        province: values(&object.field("Province"), false),
        street_address: values(&object.field("StreetAddress"), false),
        postal_code: values(&object.field("PostalCode"), false),
        serial_number: serial_number(&object.field("SerialNumber")),
        common_name: object
            .field("CommonName")
            .text()
            .ok()
            .flatten()
            .unwrap_or_default()
            .to_owned(),
        extra_names: extra_names(&object.field("ExtraNames")),
    }
}

/// Values of one attribute; none may be empty (RFC 5280 appendix A.1 gives them at least one character).
fn values(field: &Field<'_, '_>, printable: bool) -> Vec<String> {
    let mut values = Vec::new();
    for (item, text) in field.texts() {
        if text.is_empty() {
            item.problem("expected a string that is not empty");
        } else if !printable || check_printable(&item, text) {
            values.push(text.to_owned());
        }
    }
    values
}

fn serial_number(field: &Field<'_, '_>) -> String {
    match field.text() {
        Ok(Some(text)) if check_printable(field, text) => text.to_owned(),
        _ => String::new(),
    }
}

/// X.520 writes this attribute as PrintableString and in no other way.
fn check_printable(field: &Field<'_, '_>, text: &str) -> bool {
    let printable = PrintableStringRef::new(text).is_ok();
    if !printable {
        field.problem("expected letters, digits, blanks and '()+,-./:=? only, as X.509 encodes it");
    }
    printable
}

fn extra_names(field: &Field<'_, '_>) -> Vec<(ObjectId, String)> {
    let Ok(Some(items)) = field.items() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for item in items {
        let Ok(object) = item.object(&["Type", "Value"]) else {
            continue;
        };
        let attribute = object_id::read(&object.field("Type"));
        let value = object
            .field("Value")
            .required_text("expected the value of the attribute, a string");
        if let (Some(attribute), Ok(value)) = (attribute, value) {
            names.push((attribute, value.to_owned()));
        }
    }
    names
}
