//! Reading structures of fixed layout, little-endian, front to back.

use crate::reason::Reason;

/// What is left of a structure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'e> {
    part: &'static str,
    rest: &'e [u8],
}

impl<'e> Layout<'e> {
    /// `part` names the structure in messages.
    pub(crate) fn new(part: &'static str, bytes: &'e [u8]) -> Self {
        Self { part, rest: bytes }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<&'e [u8; N], Reason> {
        let (first, rest) = self.rest.split_first_chunk().ok_or_else(|| self.too_short(N))?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn slice(&mut self, length: usize) -> Result<&'e [u8], Reason> {
        let (first, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.too_short(length))?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn skip<const N: usize>(&mut self) -> Result<(), Reason> {
        self.bytes::<N>().map(|_| ())
    }

    /// Bytes that the format reserves: zero.
    pub(crate) fn reserved(&mut self, field: &'static str, length: usize) -> Result<(), Reason> {
        zero(field, self.slice(length)?)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Reason> {
        self.bytes().map(|&[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Reason> {
        self.bytes().copied().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Reason> {
        self.bytes().copied().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Reason> {
        self.bytes().copied().map(u64::from_le_bytes)
    }

    pub(crate) fn rest(self) -> &'e [u8] {
        self.rest
    }

    /// Refuses bytes that nothing has asked for.
    pub(crate) fn end(self) -> Result<(), Reason> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Reason::Length {
            part: self.part,
            expected: 0,
            found: self.rest.len() as u64,
        })
    }

    fn too_short(&self, expected: usize) -> Reason {
        Reason::Length {
            part: self.part,
            expected: expected as u64,
            found: self.rest.len() as u64,
        }
    }
}

/// Refuses bytes other than zero.
pub(crate) fn zero(field: &'static str, bytes: &[u8]) -> Result<(), Reason> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let shown = bytes.get(..32).unwrap_or(bytes);
    Err(Reason::Reserved {
        field,
        found: hex::encode(shown),
    })
}
