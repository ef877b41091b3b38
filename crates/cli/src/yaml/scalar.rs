//! What a scalar means: YAML 1.1 as existing clients read it.

use serde_saphyr::granit_parser::ScalarStyle;

/// A resolved scalar.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// -2⁶³ to 2⁶⁴-1.
    Integer(i128),
    /// Finite or not: JSON refuses the latter.
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The key that this scalar becomes; `None`: it can be none.
    pub(super) fn as_key(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Integer(value) => i64::try_from(*value).ok().map(|value| value.to_string()),
            Self::Float(value) => Some(float_key(*value)),
            Self::Null => None,
        }
    }
}

/// Resolves a scalar. `tag` is the name of a tag of YAML's own, such as `int`.
///
/// # Errors
/// The text is none of what its tag says, or a number that fits nowhere.
pub(super) fn resolve(text: &str, style: ScalarStyle, tag: Option<&str>) -> Result<Scalar, String> {
    let mismatch = |tag: &str| Err(format!("{text:?} is no {tag}"));
    match tag {
        None if style == ScalarStyle::Plain => plain(text),
        None | Some("str" | "timestamp") => Ok(Scalar::Text(text.to_owned())),
        Some(tag @ "null") => match plain(text)? {
            Scalar::Null => Ok(Scalar::Null),
            _ => mismatch(tag),
        },
        Some(tag @ "bool") => match plain(text)? {
            Scalar::Bool(value) => Ok(Scalar::Bool(value)),
            _ => mismatch(tag),
        },
        Some(tag @ "int") => match plain(text)? {
            Scalar::Integer(value) => Ok(Scalar::Integer(value)),
            _ => mismatch(tag),
        },
        Some(tag @ "float") => match plain(text)? {
            Scalar::Float(value) => Ok(Scalar::Float(value)),
            // The cast rounds to nearest, as a float written out would.
            Scalar::Integer(value) => Ok(Scalar::Float(value as f64)),
            _ => mismatch(tag),
        },
        Some(tag @ "binary") => Err(format!("!!{tag} has no place in a manifest: give base64 as text")),
        // Tags of collections and unknown ones say nothing about a scalar.
        Some(_) => Ok(Scalar::Text(text.to_owned())),
    }
}

fn plain(text: &str) -> Result<Scalar, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ if text.starts_with('.') => {
            float(text).map_or_else(|| Scalar::Text(text.to_owned()), Scalar::Float)
        }
        _ if text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-')) => {
            number(text)?
        }
        _ => Scalar::Text(text.to_owned()),
    })
}

/// Digits may be grouped with underscores anywhere.
fn number(text: &str) -> Result<Scalar, String> {
    let digits = text.replace('_', "");
    match integer(&digits) {
        Integer::Fits(value) => return Ok(Scalar::Integer(value)),
        Integer::TooLarge if float(&digits).is_none() => {
            return Err(format!(
                "{text} is too large a number: put it in quotes if it is text"
            ));
        }
        Integer::TooLarge | Integer::None => {}
    }
    Ok(float(&digits).map_or_else(|| Scalar::Text(text.to_owned()), Scalar::Float))
}

enum Integer {
    Fits(i128),
    TooLarge,
    None,
}

/// Binary (`0b`), octal (`0o` or a leading zero), hexadecimal (`0x`) or decimal; signed in 64 bits, or unsigned
/// in 64 bits when there is no sign.
fn integer(text: &str) -> Integer {
    let (negative, signed, unsigned_text) = match text.split_at_checked(1) {
        Some(("-", rest)) => (true, true, rest),
        Some(("+", rest)) => (false, true, rest),
        _ => (false, false, text),
    };
    let prefix = unsigned_text
        .get(..2)
        .filter(|_| unsigned_text.len() > 2)
        .map(str::to_ascii_lowercase);
    let (radix, skip) = match prefix.as_deref() {
        Some("0x") => (16, 2),
        Some("0b") => (2, 2),
        Some("0o") => (8, 2),
        _ if unsigned_text.len() > 1 && unsigned_text.starts_with('0') => (8, 1),
        _ => (10, 0),
    };
    let Some(digits) = unsigned_text.get(skip..).filter(|digits| !digits.is_empty()) else {
        return Integer::None;
    };
    let mut value: i128 = 0;
    for digit in digits.chars() {
        let Some(digit) = digit.to_digit(radix) else {
            return Integer::None;
        };
        // Far above all limits it stays far above: no digit after that matters.
        value = value.saturating_mul(radix.into()).saturating_add(digit.into());
    }
    let limit = match (negative, signed) {
        (true, _) => -i128::from(i64::MIN),
        (false, true) => i64::MAX.into(),
        (false, false) => u64::MAX.into(),
    };
    match value {
        _ if value > limit => Integer::TooLarge,
        _ if negative => Integer::Fits(-value),
        _ => Integer::Fits(value),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`; `None` also when it overflows.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && all_digits(exponent)
    });
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// As existing clients write floats that are keys: in single precision, the shortest digits, with an exponent
/// outside of 1e-4 to 1e6.
fn float_key(value: f64) -> String {
    let value = value as f32;
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let shortest = format!("{value:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return shortest;
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&power) {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", power.abs());
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Scalar {
        resolve(text, ScalarStyle::Plain, None).unwrap()
    }

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.to_owned())
    }

    #[test]
    fn booleans_and_nulls() {
        for yes in [
            "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON",
        ] {
            assert_eq!(read(yes), Scalar::Bool(true), "{yes}");
        }
        for no in [
            "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF",
        ] {
            assert_eq!(read(no), Scalar::Bool(false), "{no}");
        }
        for null in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(read(null), Scalar::Null, "{null}");
        }
        for other in ["yEs", "tRUE", "oN", "nUll", "~~", "yes ", "none"] {
            assert_eq!(read(other), text(other));
        }
    }

    #[test]
    fn integers() {
        for (written, value) in [
            ("0", 0),
            ("00", 0),
            ("-0", 0),
            ("685230", 685_230),
            ("+685_230", 685_230),
            ("02472256", 685_230),
            ("0o2472256", 685_230),
            ("0x_0A_74_AE", 685_230),
            ("0XA74AE", 685_230),
            ("0b1010_0111_0100_1010_1110", 685_230),
            ("-0b101010", -42),
            ("-010", -8),
            ("1__0_", 10),
            ("9223372036854775807", i128::from(i64::MAX)),
            ("-9223372036854775808", i128::from(i64::MIN)),
            ("18446744073709551615", i128::from(u64::MAX)),
            ("0xFFFFFFFFFFFFFFFF", i128::from(u64::MAX)),
        ] {
            assert_eq!(read(written), Scalar::Integer(value), "{written}");
        }
        for too_large in [
            "0x1FFFFFFFFFFFFFFFF",
            "-0x8000000000000001",
            "+0xFFFFFFFFFFFFFFFF",
            "0o7777777777777777777777",
        ] {
            let error = resolve(too_large, ScalarStyle::Plain, None).unwrap_err();
            assert!(
                error.contains(too_large) && error.contains("in quotes"),
                "{error}"
            );
        }
    }

    #[test]
    fn floats() {
        for (written, value) in [
            ("0.1", 0.1),
            (".1", 0.1),
            ("-.1", -0.1),
            ("1.", 1.0),
            ("6.8523e+5", 685_230.0),
            ("685.230_15e+03", 685_230.15),
            ("685_230.15", 685_230.15),
            ("123456e1", 1_234_560.0),
            ("123456E1", 1_234_560.0),
            ("08", 8.0),
            ("09.5", 9.5),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("-9223372036854775809", -9_223_372_036_854_775_809.0),
            ("+9223372036854775808", 9_223_372_036_854_775_808.0),
            ("1e-400", 0.0),
            (".Inf", f64::INFINITY),
            ("-.inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(read(written), Scalar::Float(value), "{written}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for written in [
            "-",
            "+",
            ".",
            "..",
            ".e5",
            "1e",
            "1e+",
            "0x",
            "0b2",
            "0xg",
            "1.2.3",
            "1:1",
            "190:20:30",
            "-b_c",
            "+b_c",
            "50cent_of_dollar",
            "2015-01-01",
            "2015-02-24T18:19:39.12Z",
            "2015-02-24 18:19:39",
            "1e999",
            "-1e999",
            "_1",
            ".5_0",
            "1-2",
            "+-1",
            "--1",
            "0x-1",
            "١",
        ] {
            assert_eq!(read(written), text(written));
        }
    }

    #[test]
    fn quotes_and_tags() {
        for style in [
            ScalarStyle::SingleQuoted,
            ScalarStyle::DoubleQuoted,
            ScalarStyle::Literal,
            ScalarStyle::Folded,
        ] {
            for written in ["yes", "1", "", "~", "<<"] {
                assert_eq!(resolve(written, style, None).unwrap(), text(written));
            }
        }
        let tagged = |written, tag| resolve(written, ScalarStyle::SingleQuoted, Some(tag));
        assert_eq!(tagged("1", "int").unwrap(), Scalar::Integer(1));
        assert_eq!(tagged("1.1", "float").unwrap(), Scalar::Float(1.1));
        assert_eq!(tagged("-1", "float").unwrap(), Scalar::Float(-1.0));
        assert_eq!(tagged("", "null").unwrap(), Scalar::Null);
        assert_eq!(tagged("off", "bool").unwrap(), Scalar::Bool(false));
        assert_eq!(tagged("2015-01-01", "str").unwrap(), text("2015-01-01"));
        assert_eq!(tagged("2015-01-01", "timestamp").unwrap(), text("2015-01-01"));
        assert_eq!(tagged("1", "unheard-of").unwrap(), text("1"));
        assert_eq!(tagged("1.0", "int").unwrap_err(), "\"1.0\" is no int");
        assert!(
            tagged("x", "bool").is_err() && tagged("x", "null").is_err() && tagged("x", "float").is_err()
        );
        assert!(tagged("AA==", "binary").unwrap_err().contains("base64 as text"));
    }

    #[test]
    fn floats_as_keys() {
        for (value, key) in [
            (1.5, "1.5"),
            (0.1, "0.1"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (1e20, "1e+20"),
            (-1.25e-7, "-1.25e-07"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::INFINITY, ".inf"),
            (f64::NAN, ".nan"),
        ] {
            assert_eq!(Scalar::Float(value).as_key().unwrap(), key);
        }
    }
}
