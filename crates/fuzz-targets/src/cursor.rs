//! Values out of an input; behind its end there are zeros.

pub struct Cursor<'i>(pub &'i [u8]);

impl<'i> Cursor<'i> {
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.take(N);
        out.iter_mut().zip(taken).for_each(|(to, from)| *to = *from);
        out
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>().into_iter().next().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Up to `length` bytes.
    pub fn take(&mut self, length: usize) -> &'i [u8] {
        let (now, later) = self.0.split_at(length.min(self.0.len()));
        self.0 = later;
        now
    }

    /// Flips bits of a field: zeros leave it as it is.
    pub fn flip<const N: usize>(&mut self, field: &mut [u8; N]) {
        let bits: [u8; N] = self.array();
        field.iter_mut().zip(bits).for_each(|(to, from)| *to ^= from);
    }
}

/// An input with a mode in front.
pub fn with_mode(mode: u8, rest: &[u8]) -> Vec<u8> {
    let mut input = vec![mode];
    input.extend_from_slice(rest);
    input
}
