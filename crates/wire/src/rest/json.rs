//! JSON as the clients and servers in use write it, where bytes matter (fingerprints, recorded replies).

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// Writes `value` as compact JSON in which `<`, `>`, `&`, U+2028 and U+2029 are `\u003c` and so on.
///
/// # Errors
/// Those of `writer`, and of values that JSON has no place for (maps whose keys are no strings).
pub fn go_json<W: io::Write, T: Serialize + ?Sized>(writer: W, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(writer, GoFormatter))
}

/// [`go_json`] as a string.
///
/// # Errors
/// As [`go_json`].
pub fn go_json_string<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    go_json(&mut bytes, value)?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((position, character)) = rest
            .char_indices()
            .find(|(_, character)| needs_escape(*character))
        {
            let (plain, tail) = rest.split_at_checked(position).unwrap_or((rest, ""));
            CompactFormatter.write_string_fragment(writer, plain)?;
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = tail.get(character.len_utf8()..).unwrap_or("");
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

fn needs_escape(character: char) -> bool {
    matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(
            go_json_string("<a href=\"&\">\u{2028}é\u{2029}\u{1}\n\t\u{7f}/").unwrap(),
            r#""\u003ca href=\"\u0026\"\u003e\u2028é\u2029\u0001\n\t"#.to_owned() + "\u{7f}/\""
        );
        assert_eq!(
            go_json_string(&serde_json::json!({"<": [1, null, "x"]})).unwrap(),
            r#"{"\u003c":[1,null,"x"]}"#
        );
    }
}
