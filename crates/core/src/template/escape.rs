//! Text for other languages and for people: `html`, `js`, `urlquery`, and the quotes of `%q`.

use std::fmt::Write as _;

use super::buffer::Buffer;

/// Escapes for HTML.
pub(super) fn html(to: &mut Buffer, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' => to.write(b"&#34;"),
            b'\'' => to.write(b"&#39;"),
            b'&' => to.write(b"&amp;"),
            b'<' => to.write(b"&lt;"),
            b'>' => to.write(b"&gt;"),
            0 => to.write_char('\u{fffd}'),
            other => to.write(std::slice::from_ref(other)),
        }
    }
}

/// Escapes for a string of JavaScript.
pub(super) fn javascript(to: &mut Buffer, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => to.write(b"\\\\"),
                '\'' => to.write(b"\\'"),
                '"' => to.write(b"\\\""),
                '<' | '>' | '&' | '=' | '\0'..='\x1f' => escape_unicode(to, letter),
                letter if letter.is_ascii() || is_printable(letter) => to.write_char(letter),
                letter => escape_unicode(to, letter),
            }
        }
        // As in Go, what is no character passes through.
        to.write(chunk.invalid());
    }
}

fn escape_unicode(to: &mut Buffer, letter: char) {
    let _ = write!(to, "\\u{:04X}", u32::from(letter));
}

/// Escapes for the query of a URL.
pub(super) fn url_query(to: &mut Buffer, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                to.write(std::slice::from_ref(byte));
            }
            b' ' => to.write(b"+"),
            other => {
                let _ = write!(to, "%{other:02X}");
            }
        }
    }
}

/// A string literal of Go; with `ascii` nothing else is in it.
pub(super) fn quote(to: &mut Buffer, bytes: &[u8], ascii: bool) {
    to.write(b"\"");
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            quote_one(to, letter, '"', ascii);
        }
        for byte in chunk.invalid() {
            let _ = write!(to, "\\x{byte:02x}");
        }
    }
    to.write(b"\"");
}

/// A character literal of Go; what is no character becomes U+FFFD.
pub(super) fn quote_character(to: &mut Buffer, letter: char, ascii: bool) {
    to.write(b"'");
    quote_one(to, letter, '\'', ascii);
    to.write(b"'");
}

/// Whether a string can be written as a raw string of Go.
pub(super) fn can_be_raw(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        !text
            .chars()
            .any(|letter| matches!(letter, '`' | '\u{feff}' | '\x7f') || (letter < ' ' && letter != '\t'))
    })
}

/// Letters, marks, numbers, punctuation, symbols, and the ASCII space.
pub(super) fn is_printable(letter: char) -> bool {
    // The standard library escapes just the others; only at the beginning also combining marks.
    letter == ' '
        || (letter > ' ' && letter < '\x7f')
        || (!letter.is_ascii() && {
            let mut pair = [0; 5];
            let (first, rest) = pair.split_at_mut(1);
            first.copy_from_slice(b"a");
            let length = 1 + letter.encode_utf8(rest).len();
            let text = pair
                .get(..length)
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or_default();
            text.escape_debug().count() == 2
        })
}

fn quote_one(to: &mut Buffer, letter: char, quote: char, ascii: bool) {
    match letter {
        _ if letter == quote || letter == '\\' => {
            to.write(b"\\");
            to.write_char(letter);
        }
        '\x07' => to.write(b"\\a"),
        '\x08' => to.write(b"\\b"),
        '\x0c' => to.write(b"\\f"),
        '\n' => to.write(b"\\n"),
        '\r' => to.write(b"\\r"),
        '\t' => to.write(b"\\t"),
        '\x0b' => to.write(b"\\v"),
        letter if is_printable(letter) && (letter.is_ascii() || !ascii) => to.write_char(letter),
        letter => {
            let code = u32::from(letter);
            let _ = match code {
                0..=0x7f => write!(to, "\\x{code:02x}"),
                0x80..=0xffff => write!(to, "\\u{code:04x}"),
                _ => write!(to, "\\U{code:08x}"),
            };
        }
    }
}
