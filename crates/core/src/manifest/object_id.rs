//! Object identifiers: lists of integers, or dotted strings.

use const_oid::ObjectIdentifier;

use super::document::Node;
use super::field::Field;
use crate::secret::spec::ObjectId;

const EXPECTED: &str = "an object identifier that can be encoded: 0 to 2, then 0 to 39, then numbers below 2^32, 39 bytes in all";

/// A list of object identifiers, each a list of integers.
pub(super) fn read_list(field: &Field<'_, '_>) -> Vec<ObjectId> {
    let Ok(Some(items)) = field.items() else {
        return Vec::new();
    };
    items.filter_map(|item| read(&item)).collect()
}

/// One object identifier as a list of integers.
pub(super) fn read(field: &Field<'_, '_>) -> Option<ObjectId> {
    let items = match field.items() {
        Ok(Some(items)) => items,
        Ok(None) => {
            field.expected("an object identifier as a list of numbers");
            return None;
        }
        Err(_) => return None,
    };
    let mut arcs = Vec::with_capacity(items.len());
    for item in items {
        match item.given() {
            Some(Node::Unsigned(arc)) if u32::try_from(*arc).is_ok() => arcs.push(u32::try_from(*arc).ok()?),
            _ => {
                item.expected("a number from 0 to 4294967295");
                return None;
            }
        }
    }
    let made = ObjectIdentifier::from_arcs(arcs)
        .ok()
        .filter(|oid| oid.arcs().count() > 1);
    if made.is_none() {
        field.problem(format_args!("expected {EXPECTED}"));
    }
    made.map(ObjectId::new)
}

/// A list of object identifiers in dotted form.
pub(super) fn read_dotted_list(field: &Field<'_, '_>) -> Vec<ObjectId> {
    let mut list = Vec::new();
    for (item, text) in field.texts() {
        match ObjectIdentifier::new(text)
            .ok()
            .filter(|oid| oid.arcs().count() > 1)
        {
            Some(oid) => list.push(ObjectId::new(oid)),
            None => drop(item.problem(format_args!("expected {EXPECTED}, such as 1.3.6.1"))),
        }
    }
    list
}
