//! Values with secrets as JSON: serialised twice, the first time only to count, so that no buffer ever grows and leaves a
//! copy of a secret behind.

use std::io;

use serde::Serialize;
use zeroize::Zeroizing;

/// Bytes of the value in JSON.
///
/// # Errors
/// The value refuses to be serialised.
pub(crate) fn length(value: &impl Serialize) -> serde_json::Result<usize> {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value)?;
    Ok(counter.0)
}

/// The value in a buffer of exactly its length, which wipes itself.
///
/// # Errors
/// The value refuses to be serialised.
pub(crate) fn to_vec(value: &impl Serialize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut json = Zeroizing::new(Vec::with_capacity(length(value)?));
    serde_json::to_writer(&mut *json, value)?;
    Ok(json)
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_has_its_length_from_the_start() {
        let value = ["quite a long text", "\u{1}\"ä"];
        let json = to_vec(&value).unwrap();
        assert_eq!(*json, serde_json::to_vec(&value).unwrap());
        assert_eq!(json.capacity(), json.len());
    }
}
