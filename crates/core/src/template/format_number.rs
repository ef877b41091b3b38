//! Numbers for `printf`: integers, floating-point numbers, and the bytes of strings in hexadecimal.

use super::buffer::Buffer;
use super::escape;
use super::format::{Flags, padded};

/// Digits of any finite float beyond these are zero.
const DIGITS: usize = 1100;

/// An integer by one of the verbs `b c d o O q U v x X`.
pub(super) fn integer(to: &mut Buffer, magnitude: u64, negative: bool, verb: char, flags: &Flags) {
    let plain = Flags {
        zero: false,
        ..flags.clone()
    };
    let letter = || {
        let code = if negative {
            None
        } else {
            u32::try_from(magnitude).ok()
        };
        code.and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    match verb {
        'c' => return padded(to, letter().encode_utf8(&mut [0; 4]).as_bytes(), flags),
        'q' => {
            let mut literal = Buffer::new();
            escape::quote_character(&mut literal, letter(), flags.plus);
            return padded(to, literal.as_slice(), flags);
        }
        'U' => {
            let code = if negative {
                magnitude.wrapping_neg()
            } else {
                magnitude
            };
            let digits = flags.precision.map_or(4, |precision| precision.max(4));
            let mut text = Buffer::new();
            let code_digits = format!("{code:X}");
            text.write(b"U+");
            text.fill(b'0', digits.saturating_sub(code_digits.len()));
            text.write(code_digits.as_bytes());
            if flags.sharp
                && !negative
                && u32::try_from(code)
                    .ok()
                    .and_then(char::from_u32)
                    .is_some_and(escape::is_printable)
            {
                text.write(format!(" '{}'", letter()).as_bytes());
            }
            return padded(to, text.as_slice(), &plain);
        }
        _ => {}
    }
    let (digits, prefix) = match verb {
        'b' => (format!("{magnitude:b}"), "0b"),
        'o' => (format!("{magnitude:o}"), ""),
        'O' => (format!("{magnitude:o}"), "0o"),
        'x' => (format!("{magnitude:x}"), "0x"),
        'X' => (format!("{magnitude:X}"), "0X"),
        _ => (magnitude.to_string(), ""),
    };
    let sign = match flags {
        _ if negative => "-",
        Flags { plus: true, .. } => "+",
        Flags { space: true, .. } => " ",
        _ => "",
    };
    let least_digits = match (flags.precision, flags.width) {
        (Some(0), _) if magnitude == 0 => return padded(to, b"", &plain),
        (Some(precision), _) => precision,
        (None, Some(width)) if flags.zero && !flags.minus => width - usize::from(!sign.is_empty()).min(width),
        _ => 0,
    };
    let zeros = least_digits.saturating_sub(digits.len());
    let mut text = Buffer::new();
    text.write(sign.as_bytes());
    match verb {
        'o' | 'O' => {
            text.write(prefix.as_bytes());
            if flags.sharp && zeros == 0 && !digits.starts_with('0') {
                text.write(b"0");
            }
        }
        _ if flags.sharp => text.write(prefix.as_bytes()),
        _ => {}
    }
    text.fill(b'0', zeros);
    text.write(digits.as_bytes());
    padded(to, text.as_slice(), &plain);
}

/// A string in hexadecimal.
pub(super) fn bytes(to: &mut Buffer, bytes: &[u8], upper: bool, flags: &Flags) {
    let bytes = bytes
        .get(..flags.precision.unwrap_or(bytes.len()))
        .unwrap_or(bytes);
    let prefix: &[u8] = if upper { b"0X" } else { b"0x" };
    let mut text = Buffer::new();
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && flags.space {
            text.write(b" ");
        }
        if flags.sharp && (index == 0 || flags.space) {
            text.write(prefix);
        }
        let digits: &[u8; 16] = if upper {
            b"0123456789ABCDEF"
        } else {
            b"0123456789abcdef"
        };
        for nibble in [byte >> 4, byte & 15] {
            text.write(
                digits
                    .get(usize::from(nibble))
                    .map(std::slice::from_ref)
                    .unwrap_or_default(),
            );
        }
    }
    padded(to, text.as_slice(), flags);
}

/// A finite float by one of the verbs `b e E f F g G v x X`.
pub(super) fn float(to: &mut Buffer, value: f64, verb: char, flags: &Flags) {
    let magnitude = value.abs();
    let mut text = match verb {
        'b' => binary(magnitude),
        'x' | 'X' => hexadecimal(magnitude, flags.precision),
        'e' | 'E' => exponential(magnitude, flags.precision.unwrap_or(6)),
        'f' | 'F' => fixed(magnitude, flags.precision.unwrap_or(6)),
        _ => shortest(magnitude, flags.precision),
    };
    if flags.sharp && verb != 'b' {
        with_point(&mut text, verb, flags.precision);
    }
    if verb.is_ascii_uppercase() {
        text.make_ascii_uppercase();
    }
    let sign: &[u8] = match flags {
        _ if value.is_sign_negative() => b"-",
        Flags { plus: true, .. } => b"+",
        Flags { space: true, .. } => b" ",
        _ => b"",
    };
    if flags.zero && !flags.minus {
        // The sign comes before the zeros.
        to.write(sign);
        let width = flags.width.map(|width| width.saturating_sub(sign.len()));
        padded(
            to,
            text.as_bytes(),
            &Flags {
                width,
                ..flags.clone()
            },
        );
    } else {
        let mut signed = Buffer::new();
        signed.write(sign);
        signed.write(text.as_bytes());
        padded(to, signed.as_slice(), flags);
    }
}

/// `%e` without exponent marks of Rust: `1.5e+06`.
fn exponential(magnitude: f64, precision: usize) -> String {
    let text = format!("{magnitude:.*e}", precision.min(DIGITS));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mut result = mantissa.to_owned();
    result.extend(std::iter::repeat_n('0', precision.saturating_sub(DIGITS)));
    push_exponent(&mut result, 'e', exponent.parse().unwrap_or(0));
    result
}

fn fixed(magnitude: f64, precision: usize) -> String {
    let mut text = format!("{magnitude:.*}", precision.min(DIGITS));
    text.extend(std::iter::repeat_n('0', precision.saturating_sub(DIGITS)));
    text
}

/// `%g`: as many digits as needed to tell the number, or at most `precision`.
fn shortest(magnitude: f64, precision: Option<usize>) -> String {
    let text = match precision {
        None => format!("{magnitude:e}"),
        Some(precision) => format!("{magnitude:.*e}", precision.clamp(1, DIGITS) - 1),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
    let count = digits
        .iter()
        .rposition(|digit| *digit != b'0')
        .map_or(1, |last| last + 1);
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    let limit = match precision {
        None => 6,
        Some(precision) => {
            let precision = precision.max(1);
            if precision > count && count >= whole {
                count
            } else {
                precision
            }
        }
    };
    if exponent < -4 || usize::try_from(exponent).is_ok_and(|exponent| exponent >= limit) {
        exponential(magnitude, count - 1)
    } else {
        fixed(
            magnitude,
            usize::try_from(i32::try_from(count).unwrap_or(i32::MAX) - exponent - 1).unwrap_or(0),
        )
    }
}

/// `%b`: an integer times a power of two.
fn binary(magnitude: f64) -> String {
    let (mantissa, exponent) = parts(magnitude);
    format!("{mantissa}p{exponent:+}")
}

/// `%x`: `0x1.8p+00`.
fn hexadecimal(magnitude: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = parts(magnitude);
    if mantissa == 0 {
        exponent = 0;
    } else {
        while mantissa >> 52 == 0 {
            mantissa <<= 1;
            exponent -= 1;
        }
        exponent += 52;
    }
    let digits = precision.unwrap_or(13).min(13);
    let dropped = u32::try_from(4 * (13 - digits)).unwrap_or(0);
    let rest = mantissa & ((1 << dropped) - 1);
    mantissa >>= dropped;
    let half = (1_u64 << dropped) >> 1;
    if dropped > 0 && (rest > half || (rest == half && mantissa & 1 == 1)) {
        mantissa += 1;
    }
    if mantissa >> (53 - dropped) != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    let leading = mantissa >> (52 - dropped);
    let fraction = mantissa & ((1 << (52 - dropped)) - 1);
    let mut text = format!("0x{leading}");
    let mut fraction = if digits == 0 {
        String::new()
    } else {
        format!("{fraction:0digits$x}")
    };
    match precision {
        None => fraction.truncate(fraction.trim_end_matches('0').len()),
        Some(precision) => fraction.extend(std::iter::repeat_n('0', precision.saturating_sub(13))),
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(&fraction);
    }
    push_exponent(&mut text, 'p', exponent);
    text
}

/// Mantissa and exponent such that the value is one times two to the power of the other.
fn parts(magnitude: f64) -> (u64, i32) {
    let bits = magnitude.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match i32::try_from(bits >> 52 & 0x7ff).unwrap_or(0) {
        0 => (fraction, -1074),
        biased => (fraction | 1 << 52, biased - 1075),
    }
}

/// At least two digits, always with a sign.
fn push_exponent(text: &mut String, mark: char, exponent: i32) {
    let sign = if exponent < 0 { '-' } else { '+' };
    text.push(mark);
    text.push(sign);
    text.push_str(&format!("{:02}", exponent.unsigned_abs()));
}

/// The flag `#`: always a point, and for `%g` no removed zeros.
fn with_point(text: &mut String, verb: char, precision: Option<usize>) {
    let mark = if matches!(verb, 'x' | 'X') { 'p' } else { 'e' };
    let tail = text
        .find(mark)
        .map_or(String::new(), |start| text.split_off(start));
    let mut missing = match verb {
        // Not for `%X`: so Go does.
        'v' | 'g' | 'G' | 'x' => precision.unwrap_or(6),
        _ => 0,
    };
    // The letter of `0x` counts as well: so Go does.
    let significant = text
        .chars()
        .filter(|digit| *digit != '.')
        .skip_while(|digit| *digit == '0')
        .count();
    missing = missing.saturating_sub(significant);
    if !text.contains('.') {
        // A lone zero before the point counts as a digit.
        missing = missing.saturating_sub(usize::from(text == "0"));
        text.push('.');
    }
    text.extend(std::iter::repeat_n('0', missing));
    text.push_str(&tail);
}
