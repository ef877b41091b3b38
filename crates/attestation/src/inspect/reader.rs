//! Reading fields one by one, each of which becomes an item.

use super::Item;

/// The evidence ends inside a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected} bytes, found {found}")]
pub(super) struct CutOff {
    field: String,
    expected: usize,
    found: usize,
}

/// What is left of a structure, and the items so far.
pub(super) struct Reader<'e> {
    rest: &'e [u8],
    items: Vec<Item>,
}

impl<'e> Reader<'e> {
    pub(super) fn new(bytes: &'e [u8]) -> Self {
        Self {
            rest: bytes,
            items: Vec::new(),
        }
    }

    pub(super) fn into_items(self) -> Vec<Item> {
        self.items
    }

    pub(super) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    pub(super) fn rest(&self) -> &'e [u8] {
        self.rest
    }

    /// Bytes that become no item here.
    pub(super) fn take(&mut self, field: &str, length: usize) -> Result<&'e [u8], CutOff> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.cut_off(field, length))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], CutOff> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.cut_off(field, N))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Bytes, shown in hex.
    pub(super) fn hex(&mut self, field: &str, length: usize) -> Result<&'e [u8], CutOff> {
        let bytes = self.take(field, length)?;
        self.items.push(Item::value(field, hex::encode(bytes)));
        Ok(bytes)
    }

    /// Bytes that the format reserves: shown only when they are not zero.
    pub(super) fn reserved(&mut self, field: &str, length: usize) -> Result<(), CutOff> {
        let bytes = self.take(field, length)?;
        if bytes.iter().any(|byte| *byte != 0) {
            self.items.push(Item::value(
                field,
                format!("{} (expected zero)", hex::encode(bytes)),
            ));
        }
        Ok(())
    }

    pub(super) fn u16(&mut self, field: &str) -> Result<u16, CutOff> {
        let value = u16::from_le_bytes(self.array(field)?);
        self.items.push(Item::value(field, value.to_string()));
        Ok(value)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32, CutOff> {
        let value = u32::from_le_bytes(self.array(field)?);
        self.items.push(Item::value(field, value.to_string()));
        Ok(value)
    }

    /// A number shown as the names of its bits.
    pub(super) fn flags(&mut self, field: &str, names: &[(u32, &str)]) -> Result<u64, CutOff> {
        let value = u64::from_le_bytes(self.array(field)?);
        let shown = format!("{value:#018x} ({})", super::bits(value, names));
        self.items.push(Item::value(field, shown));
        Ok(value)
    }

    /// What should not be there, at the end.
    pub(super) fn behind(&mut self, field: &str) {
        let bytes = self.rest;
        if bytes.is_empty() {
            return;
        }
        let what = if bytes.iter().all(|byte| *byte == 0) {
            "all zero"
        } else {
            "not all zero"
        };
        self.items
            .push(Item::value(field, format!("{} bytes, {what}", bytes.len())));
    }

    fn cut_off(&self, field: &str, expected: usize) -> CutOff {
        CutOff {
            field: field.to_owned(),
            expected,
            found: self.rest.len(),
        }
    }
}
