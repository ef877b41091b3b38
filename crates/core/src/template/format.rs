//! `print`, `println` and `printf` as Go's package fmt defines them, for the values templates can print.
//!
//! Mistakes in a format never fail: they show in the output, as `%!d(string=x)`. Objects never come here.

use super::buffer::Buffer;
use super::format_number::{float, integer};
use super::value::Value;
use super::{escape, format_number};

/// Width and precision beyond this are ignored; the limit is tested before each further digit.
const LARGEST: usize = 1_000_000;

/// What stands between `%` and the verb.
#[derive(Default, Clone)]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%#v`
    pub(super) go_syntax: bool,
}

/// Values one after the other, with a space between two that are no strings.
pub(super) fn print(to: &mut Buffer, values: &[Value]) {
    let mut last_is_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !last_is_text {
            to.write(b" ");
        }
        value_with(to, value, 'v', &Flags::default());
        last_is_text = is_text;
    }
}

/// Values with spaces between them and a line break at the end.
pub(super) fn println(to: &mut Buffer, values: &[Value]) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            to.write(b" ");
        }
        value_with(to, value, 'v', &Flags::default());
    }
    to.write(b"\n");
}

/// Values by a format.
pub(super) fn printf(to: &mut Buffer, format: &[u8], values: &[Value]) {
    let mut printer = Printer {
        rest: format,
        values,
        next: 0,
        reordered: false,
        good_index: true,
    };
    while !to.is_full() {
        let Some(start) = printer.rest.iter().position(|byte| *byte == b'%') else {
            break;
        };
        to.write(printer.rest.get(..start).unwrap_or_default());
        printer.advance(start + 1);
        printer.directive(to);
    }
    to.write(printer.rest);
    let extra = values.get(printer.next..).unwrap_or_default();
    if printer.reordered || extra.is_empty() {
        return;
    }
    to.write(b"%!(EXTRA ");
    for (index, value) in extra.iter().enumerate() {
        if index > 0 {
            to.write(b", ");
        }
        if !matches!(value, Value::Nil) {
            to.write(value.type_name().as_bytes());
            to.write(b"=");
        }
        value_with(to, value, 'v', &Flags::default());
    }
    to.write(b")");
}

struct Printer<'f> {
    rest: &'f [u8],
    values: &'f [Value],
    /// Index of the next value.
    next: usize,
    /// Whether `[n]` was used: then nothing counts as extra.
    reordered: bool,
    /// Whether the `[n]` of this directive names a value.
    good_index: bool,
}

impl<'f> Printer<'f> {
    /// One directive, from behind the percent sign.
    fn directive(&mut self, to: &mut Buffer) {
        let mut flags = Flags::default();
        self.good_index = true;
        while let Some(byte) = self.rest.first() {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.advance(1);
        }
        let mut after_index = self.index();
        if self.rest.first() == Some(&b'*') {
            self.advance(1);
            match self.integer_argument() {
                Some(width) => {
                    flags.minus |= width < 0;
                    flags.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => to.write(b"%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            flags.width = self.number();
            self.good_index &= !(after_index && flags.width.is_some());
        }
        // A point at the very end is a verb.
        if self.rest.len() > 1 && self.rest.first() == Some(&b'.') {
            self.advance(1);
            self.good_index &= !after_index;
            after_index = self.index();
            if self.rest.first() == Some(&b'*') {
                self.advance(1);
                match self.integer_argument() {
                    // A negative precision counts as none, and is reported like a bad one.
                    Some(precision) if precision >= 0 => flags.precision = usize::try_from(precision).ok(),
                    _ => to.write(b"%!(BADPREC)"),
                }
                after_index = false;
            } else {
                flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.index();
        }
        let Some(verb) = self.verb() else {
            to.write(b"%!(NOVERB)");
            return;
        };
        if verb == '%' {
            to.write(b"%");
            return;
        }
        match self.values.get(self.next) {
            _ if !self.good_index => bad(to, verb, b"BADINDEX"),
            None => bad(to, verb, b"MISSING"),
            Some(value) => {
                if matches!(verb, 'v' | 'w') {
                    flags.go_syntax = std::mem::take(&mut flags.sharp);
                    flags.plus = false;
                }
                self.next += 1;
                value_with(to, value, verb, &flags);
            }
        }
    }

    /// `[n]`: the next value is the n-th. Tells whether there is one, also when there is no such value.
    fn index(&mut self) -> bool {
        if self.rest.first() != Some(&b'[') {
            return false;
        }
        self.reordered = true;
        let Some(close) = self.rest.iter().position(|byte| *byte == b']') else {
            self.good_index = false;
            self.advance(1);
            return false;
        };
        let digits = self.rest.get(1..close).unwrap_or_default();
        let number = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|number| number / 10 <= LARGEST);
        self.advance(close + 1);
        match number
            .and_then(|number| number.checked_sub(1))
            .filter(|index| *index < self.values.len())
        {
            Some(index) => self.next = index,
            None => self.good_index = false,
        }
        number.is_some()
    }

    /// Digits, if there are any; `None` also when there are too many, and then all of the format is used up.
    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit) = self.rest.first().filter(|byte| byte.is_ascii_digit()) {
            if number.unwrap_or(0) > LARGEST {
                self.rest = &[];
                return None;
            }
            number = Some(number.unwrap_or(0) * 10 + usize::from(digit - b'0'));
            self.advance(1);
        }
        number
    }

    /// The next value as a width or precision.
    fn integer_argument(&mut self) -> Option<i128> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        value
            .index()
            .filter(|number| number.unsigned_abs() <= LARGEST as u128)
    }

    fn verb(&mut self) -> Option<char> {
        let head = self.rest.get(..self.rest.len().min(4)).unwrap_or_default();
        let chunk = head.utf8_chunks().next()?;
        let verb = chunk.valid().chars().next();
        self.advance(verb.map_or(1, char::len_utf8));
        Some(verb.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn advance(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }
}

fn bad(to: &mut Buffer, verb: char, what: &[u8]) {
    to.write(b"%!");
    to.write_char(verb);
    to.write(b"(");
    to.write(what);
    to.write(b")");
}

/// Prints one value by a verb.
fn value_with(to: &mut Buffer, value: &Value, verb: char, flags: &Flags) {
    match (verb, value) {
        ('T' | 'v', Value::Nil) => padded(to, b"<nil>", flags),
        ('T', _) => text(to, value.type_name().as_bytes(), flags),
        ('t' | 'v', Value::Bool(value)) => {
            let word: &[u8] = if *value { b"true" } else { b"false" };
            padded(to, word, flags);
        }
        ('b' | 'c' | 'd' | 'o' | 'O' | 'q' | 'U' | 'v' | 'x' | 'X', Value::Int(number)) => {
            integer(to, number.unsigned_abs(), *number < 0, verb, flags);
        }
        ('b' | 'c' | 'd' | 'o' | 'O' | 'q' | 'U' | 'x' | 'X' | 'v', Value::Uint(_) | Value::Byte(_)) => {
            let number = value
                .index()
                .and_then(|number| u64::try_from(number).ok())
                .unwrap_or(0);
            if verb == 'v' && flags.go_syntax {
                integer(
                    to,
                    number,
                    false,
                    'x',
                    &Flags {
                        sharp: true,
                        ..flags.clone()
                    },
                );
            } else {
                integer(to, number, false, verb, flags);
            }
        }
        ('b' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'v' | 'x' | 'X', Value::Float(number)) => {
            float(to, *number, verb, flags);
        }
        ('v', Value::Text(content)) if flags.go_syntax => quoted(to, content.expose(), flags),
        ('s' | 'v', Value::Text(content)) => text(to, content.expose(), flags),
        ('q', Value::Text(content)) => quoted(to, content.expose(), flags),
        ('x' | 'X', Value::Text(content)) => format_number::bytes(to, content.expose(), verb == 'X', flags),
        (_, Value::Nil) => bad(to, verb, b"<nil>"),
        (_, value) => {
            to.write(b"%!");
            to.write_char(verb);
            to.write(b"(");
            to.write(value.type_name().as_bytes());
            to.write(b"=");
            value_with(to, value, 'v', flags);
            to.write(b")");
        }
    }
}

/// A string, cut to the precision.
fn text(to: &mut Buffer, bytes: &[u8], flags: &Flags) {
    padded(to, cut(bytes, flags.precision), flags);
}

fn quoted(to: &mut Buffer, bytes: &[u8], flags: &Flags) {
    let bytes = cut(bytes, flags.precision);
    let mut literal = Buffer::new();
    if flags.sharp && escape::can_be_raw(bytes) {
        literal.write(b"`");
        literal.write(bytes);
        literal.write(b"`");
    } else {
        escape::quote(&mut literal, bytes, flags.plus);
    }
    padded(to, literal.as_slice(), flags);
}

/// The first characters; a byte that is no part of one counts as one.
fn cut(bytes: &[u8], characters: Option<usize>) -> &[u8] {
    let Some(characters) = characters else {
        return bytes;
    };
    let length = lengths(bytes)
        .take(characters)
        .fold(0_usize, usize::saturating_add);
    bytes.get(..length).unwrap_or(bytes)
}

/// Writes with spaces, or zeros if asked for, up to the width in characters.
pub(super) fn padded(to: &mut Buffer, bytes: &[u8], flags: &Flags) {
    let missing = match flags.width {
        Some(width) => width.saturating_sub(lengths(bytes).count()),
        None => 0,
    };
    if flags.minus {
        to.write(bytes);
        to.fill(b' ', missing);
    } else {
        to.fill(if flags.zero { b'0' } else { b' ' }, missing);
        to.write(bytes);
    }
}

/// The length in bytes of each character; a byte that is no part of one counts as one.
fn lengths(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(char::len_utf8);
        valid.chain(std::iter::repeat_n(1, chunk.invalid().len()))
    })
}
