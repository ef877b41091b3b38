//! Evidence made readable: every field by its name, down to the certificates. Nothing is verified; whoever has the
//! bytes may have made them up.
//!
//! It reads as far as it can and says where it could not: evidence that verification refuses is what people look at.

mod certificates;
mod dcap;
mod reader;
mod snp;

use self::reader::{CutOff, Reader};
use crate::header::{HEADER_SIZE, OpenEnclaveHeader};
use crate::quote::{EvidenceKind, Quote};

/// A field, or a structure of fields. Names are those of the manufacturers' formats; at one level each is there once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub name: String,
    /// Its value, if it has one of its own.
    pub value: Option<String>,
    /// The fields in it.
    pub items: Vec<Item>,
}

impl Item {
    fn value(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: Some(value.into()),
            items: Vec::new(),
        }
    }

    fn group(name: impl Into<String>, items: Vec<Item>) -> Self {
        Self {
            name: name.into(),
            value: None,
            items,
        }
    }

    /// Where reading ended before the evidence did.
    fn problem(why: impl Into<String>) -> Self {
        Self::value("problem", why)
    }

    /// The item with this name in this one.
    pub fn find(&self, name: &str) -> Option<&Self> {
        self.items.iter().find(|item| item.name == name)
    }
}

/// Reads evidence, bare or behind the Open Enclave header. **Unverified.**
pub fn inspect(evidence: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    let kind = Quote::new(evidence.to_vec()).and_then(|quote| quote.kind());
    match &kind {
        Ok(kind) => items.push(Item::value("format", kind.to_string())),
        Err(error) => {
            items.push(Item::value("format", "not recognised"));
            items.push(Item::value("not recognised because", error.to_string()));
        }
    }
    items.push(Item::value("size", format!("{} bytes", evidence.len())));
    let bare = match OpenEnclaveHeader::strip(evidence) {
        Ok(None) => evidence,
        Ok(Some(bare)) => {
            items.push(Item::value("Open Enclave header", format!("{HEADER_SIZE} bytes")));
            bare
        }
        // Its length is wrong, which was said; what follows may be worth a look.
        Err(_) => evidence.get(HEADER_SIZE..).unwrap_or_default(),
    };
    match kind {
        Ok(EvidenceKind::Empty) => {}
        Ok(EvidenceKind::Snp) => items.extend(snp::report(bare)),
        Ok(EvidenceKind::SgxV3 | EvidenceKind::TdxV4 | EvidenceKind::TdxV5) => {
            items.extend(dcap::quote(bare));
        }
        // As what it looks like most.
        Err(_) if matches!(bare, [3..=5, 0, ..]) && bare.get(2..4) == Some(&[2, 0]) => {
            items.extend(dcap::quote(bare));
        }
        Err(_) => {}
    }
    items
}

/// Names of the bits that are set, and the number of those without a name.
fn bits(value: u64, names: &[(u32, &str)]) -> String {
    let mut rest = value;
    let mut set: Vec<String> = Vec::new();
    for (bit, name) in names {
        if value.checked_shr(*bit).is_some_and(|shifted| shifted & 1 == 1) {
            set.push((*name).to_owned());
            rest &= !(1_u64.checked_shl(*bit).unwrap_or(0));
        }
    }
    if rest != 0 {
        set.push(format!("others {rest:#x}"));
    }
    match set.as_slice() {
        [] => "none".to_owned(),
        list => list.join(", "),
    }
}

/// What a structure holds, with the problem that ended reading it, if there was one.
fn structure(name: &str, bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Result<(), CutOff>) -> Item {
    let mut reader = Reader::new(bytes);
    let ended = read(&mut reader);
    let mut items = reader.into_items();
    if let Err(cut_off) = ended {
        items.push(Item::problem(cut_off.to_string()));
    }
    Item::group(name, items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_named() {
        let names = &[(0, "A"), (3, "B"), (63, "C")];
        assert_eq!(bits(0, names), "none");
        assert_eq!(bits(1, names), "A");
        assert_eq!(bits((1 << 63) | 0b1011, names), "A, B, C, others 0x2");
    }
}
