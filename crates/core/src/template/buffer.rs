//! A bounded buffer that leaves no copies behind when it grows.

use std::fmt;

use zeroize::Zeroizing;

use super::value::Text;

/// The most bytes one template may render, and one function may make: 16 MiB.
pub(super) const OUTPUT_LIMIT: usize = 16 << 20;

/// Bytes that are wiped when they are dropped and when they move to make room.
///
/// Beyond [`OUTPUT_LIMIT`] it takes nothing more and remembers that something is missing.
pub(super) struct Buffer {
    bytes: Zeroizing<Vec<u8>>,
    full: bool,
}

impl Buffer {
    /// An empty buffer.
    pub(super) fn new() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::new()),
            full: false,
        }
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let length = self.bytes.len().saturating_add(bytes.len());
        if self.full || length > OUTPUT_LIMIT {
            self.full = true;
            return;
        }
        self.reserve(length);
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the same byte `count` times.
    pub(super) fn fill(&mut self, byte: u8, count: usize) {
        let length = self.bytes.len().saturating_add(count);
        if self.full || length > OUTPUT_LIMIT {
            self.full = true;
            return;
        }
        self.reserve(length);
        self.bytes.resize(length, byte);
    }

    /// Appends a character in UTF-8.
    pub(super) fn write_char(&mut self, letter: char) {
        self.write(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// What was written so far.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether something was left out.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The content as a value; an error when it did not fit.
    pub(super) fn into_text(self) -> Result<Text, String> {
        if self.full {
            Err(overflow())
        } else {
            Ok(Text::copy_from(&self.bytes))
        }
    }

    /// The content; an error when it did not fit.
    pub(super) fn into_bytes(self) -> Result<Zeroizing<Vec<u8>>, String> {
        if self.full {
            Err(overflow())
        } else {
            Ok(self.bytes)
        }
    }

    /// Makes room for `length` bytes in all. A plain `Vec` would leave the old bytes in freed memory.
    fn reserve(&mut self, length: usize) {
        if length > self.bytes.capacity() {
            let capacity = length.max(self.bytes.capacity().saturating_mul(2)).max(64);
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// The message for what does not fit.
pub(super) fn overflow() -> String {
    format!("the output is larger than {} MiB", OUTPUT_LIMIT >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_exactly_its_limit() {
        let mut buffer = Buffer::new();
        buffer.fill(b'a', OUTPUT_LIMIT);
        assert!(!buffer.is_full());
        buffer.write(b"b");
        assert!(buffer.is_full());
        assert!(buffer.into_bytes().is_err());
    }

    #[test]
    fn keeps_what_it_had_when_it_grows() {
        let mut buffer = Buffer::new();
        for round in 0..1000_u32 {
            buffer.write(&round.to_le_bytes());
        }
        let expected: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(buffer.into_bytes().map(|bytes| bytes.to_vec()), Ok(expected));
    }
}
