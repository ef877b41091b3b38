//! Numbers, characters and strings as Go writes them.

/// A number: the type follows from how it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// Without point and exponent, or a character.
    Int(i64),
    /// With point or exponent.
    Float(f64),
}

/// Converts a number literal.
pub(super) fn number(text: &str) -> Result<Number, String> {
    if text.ends_with('i') {
        return Err(format!("`{text}`: imaginary numbers are not supported"));
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    if !underscores_separate_digits(unsigned) {
        return Err(format!("`{text}` is not a number"));
    }
    // As in Go, `e` in a hexadecimal number is a digit, but only where no sign comes before the prefix.
    let hexadecimal =
        ["0x", "0X"].iter().any(|prefix| text.starts_with(prefix)) && !text.contains(['p', 'P']);
    let float_looking = text.contains(['.', 'e', 'E', 'p', 'P']);
    let plain: String = text.chars().filter(|letter| *letter != '_').collect();
    match (integer(&plain), float_looking && !hexadecimal) {
        (Some(value), false) => i64::try_from(value)
            .map(Number::Int)
            .map_err(|_| format!("`{text}` does not fit into 64 bits")),
        #[expect(
            clippy::cast_precision_loss,
            reason = "a float literal is rounded to the nearest float"
        )]
        (Some(value), true) => Ok(Number::Float(value as f64)),
        (None, _) => match float(&plain) {
            Some(value) if value.is_finite() && float_looking => Ok(Number::Float(value)),
            _ => Err(format!("`{text}` is not a number, or does not fit into 64 bits")),
        },
    }
}

/// Converts a character literal, quotes included, to its code point.
pub(super) fn character(text: &str) -> Result<Number, String> {
    let malformed = || format!("{text} is not one character");
    let content = text
        .strip_prefix('\'')
        .and_then(|text| text.strip_suffix('\''))
        .ok_or_else(malformed)?;
    let mut rest = content;
    let (point, _) = unescape_one(&mut rest, '\'').ok_or_else(malformed)?;
    if rest.is_empty() {
        Ok(Number::Int(i64::from(point)))
    } else {
        Err(malformed())
    }
}

/// Undoes the escapes of a string literal, quotes included.
pub(super) fn quoted(text: &str) -> Result<Vec<u8>, String> {
    let content = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or_default();
    let mut rest = content;
    let mut bytes = Vec::with_capacity(content.len());
    while !rest.is_empty() {
        let (point, is_byte) =
            unescape_one(&mut rest, '"').ok_or("a string has an escape that does not exist")?;
        match (u8::try_from(point), char::from_u32(point)) {
            (Ok(byte), _) if is_byte => bytes.push(byte),
            (_, Some(letter)) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => return Err("a string has an escape that is no character".into()),
        }
    }
    Ok(bytes)
}

/// The content of a raw string: carriage returns do not count.
pub(super) fn raw(text: &str) -> Vec<u8> {
    text.bytes().filter(|byte| *byte != b'\r').collect()
}

/// Takes one character or escape; tells whether it stands for a byte instead of a code point.
fn unescape_one(rest: &mut &str, quote: char) -> Option<(u32, bool)> {
    let mut letters = rest.chars();
    let first = letters.next()?;
    if first != '\\' {
        *rest = letters.as_str();
        return (first != quote).then_some((u32::from(first), false));
    }
    let escape = letters.next()?;
    let simple = |byte: u8| Some((u32::from(byte), false));
    let (digits, radix) = match escape {
        'x' => (2, 16),
        'u' => (4, 16),
        'U' => (8, 16),
        '0'..='7' => (3, 8),
        _ => {
            *rest = letters.as_str();
            return match escape {
                'a' => simple(0x07),
                'b' => simple(0x08),
                'f' => simple(0x0c),
                'n' => simple(b'\n'),
                'r' => simple(b'\r'),
                't' => simple(b'\t'),
                'v' => simple(0x0b),
                '\\' => simple(b'\\'),
                _ if escape == quote => Some((u32::from(quote), false)),
                _ => None,
            };
        }
    };
    let text = if radix == 8 {
        rest.get(1..)?
    } else {
        letters.as_str()
    };
    let code = text
        .get(..digits)
        .filter(|code| code.chars().all(|digit| digit.is_digit(radix)))?;
    let point = u32::from_str_radix(code, radix).ok()?;
    *rest = text.get(digits..)?;
    match escape {
        'u' | 'U' => char::from_u32(point).map(|letter| (u32::from(letter), false)),
        _ => u8::try_from(point).ok().map(|byte| (u32::from(byte), true)),
    }
}

/// An integer with its sign and prefix; `None` when the text is none or beyond 128 bits.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

/// A decimal or hexadecimal floating-point number.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    match unsigned
        .strip_prefix("0x")
        .or_else(|| unsigned.strip_prefix("0X"))
    {
        Some(digits) => {
            let value = hexadecimal_float(digits)?;
            Some(if text.starts_with('-') { -value } else { value })
        }
        // The letters of `inf` and `nan` never reach the parser of the standard library.
        None => unsigned
            .chars()
            .all(|letter| letter.is_ascii_digit() || matches!(letter, '.' | 'e' | 'E' | '+' | '-'))
            .then(|| text.parse().ok())
            .flatten(),
    }
}

/// The digits after `0x`: a mantissa with an optional point and a mandatory binary exponent.
fn hexadecimal_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let mut exponent = exponent
        .parse::<i32>()
        .ok()
        .filter(|exponent| exponent.abs() < 100_000)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut bits: u64 = 0;
    for (digits, is_fraction) in [(whole, false), (fraction, true)] {
        for digit in digits.chars() {
            let digit = digit.to_digit(16)?;
            if bits >> 58 == 0 {
                bits = bits << 4 | u64::from(digit);
                exponent -= if is_fraction { 4 } else { 0 };
            } else {
                // Digits beyond the precision only decide how to round.
                bits |= u64::from(digit != 0);
                exponent += if is_fraction { 0 } else { 4 };
            }
        }
    }
    // 2^-1074 is the smallest float; in two factors no step leaves the range before the last.
    let half = exponent / 2;
    #[expect(
        clippy::cast_precision_loss,
        reason = "rounding to the nearest float is meant"
    )]
    Some(bits as f64 * 2f64.powi(half) * 2f64.powi(exponent - half))
}

/// Whether each underscore stands between digits, or between a prefix and a digit.
fn underscores_separate_digits(unsigned: &str) -> bool {
    let hexadecimal = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    let mut last_is_digit = false;
    for (index, letter) in unsigned.char_indices() {
        let is_prefix = index == 1 && unsigned.starts_with('0') && letter.is_ascii_alphabetic();
        let is_digit = letter.is_ascii_digit() || is_prefix || (hexadecimal && letter.is_ascii_hexdigit());
        let next_is_digit = unsigned
            .get(index + 1..)
            .and_then(|rest| rest.chars().next())
            .is_some_and(|next| next.is_ascii_digit() || (hexadecimal && next.is_ascii_hexdigit()));
        if letter == '_' && !(last_is_digit && next_is_digit) {
            return false;
        }
        last_is_digit = is_digit;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_type_they_are_written_with() {
        for (text, value) in [
            ("1_000", 1000),
            ("0x_1F", 31),
            ("0b11", 3),
            ("0o17", 15),
            ("017", 15),
            ("-9223372036854775808", i64::MIN),
            ("+0", 0),
            ("0xe", 14),
        ] {
            assert_eq!(number(text), Ok(Number::Int(value)), "{text}");
        }
        for (text, value) in [
            ("1.", 1.0),
            (".5", 0.5),
            ("1_0.5", 10.5),
            ("1e3", 1000.0),
            ("0x1p4", 16.0),
            ("0x.8p1", 1.0),
            ("-0X1P-2", -0.25),
            ("-0xe", -14.0),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1p-1074", 5e-324),
        ] {
            assert_eq!(number(text), Ok(Number::Float(value)), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "1i",
            "08",
            "-",
            "+",
            "1__0",
            "_1",
            "1_",
            "0x",
            "0b2",
            "1e",
            "1e400",
            "1.2.3",
            "0x1.8",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "0x1p99999999999",
            "--1",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn characters_and_strings_are_unescaped() {
        assert_eq!(character("'a'"), Ok(Number::Int(97)));
        assert_eq!(character("'\\xff'"), Ok(Number::Int(255)));
        assert_eq!(character("'\\''"), Ok(Number::Int(39)));
        for bad in ["''", "'ab'", "'\\\"'", "'\\400'", "'\\ud800'"] {
            assert!(character(bad).is_err(), "{bad}");
        }
        assert_eq!(
            quoted(r#""\x41\u00e9\U0001F600\101\"\xff""#),
            Ok(b"A\xc3\xa9\xf0\x9f\x98\x80A\"\xff".to_vec())
        );
        for bad in [r#""\'""#, r#""\q""#, r#""\x4""#, r#""\U00110000""#] {
            assert!(quoted(bad).is_err(), "{bad}");
        }
    }
}
