//! From bytes to tokens. Linear in the length of the source; text outside actions may be any bytes.

use super::TemplateError;
use super::token::{Keyword, Kind, Token};

/// Splits a source into tokens.
pub(super) fn lex(source: &[u8]) -> Result<Vec<Token<'_>>, TemplateError> {
    let mut lexer = Lexer {
        rest: source,
        line: 1,
        tokens: Vec::new(),
        parentheses: 0,
    };
    lexer.text(false)?;
    Ok(lexer.tokens)
}

/// White space that trim markers remove and that separates operands.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

struct Lexer<'s> {
    rest: &'s [u8],
    line: u32,
    tokens: Vec<Token<'s>>,
    parentheses: u32,
}

impl<'s> Lexer<'s> {
    /// Text, then an action, until the source ends; `trim` removes white space at the start of the text.
    fn text(&mut self, mut trim: bool) -> Result<(), TemplateError> {
        loop {
            if trim {
                self.take(self.rest.iter().take_while(|byte| is_space(**byte)).count());
            }
            let Some(start) = find(self.rest, b"{{") else {
                let text = self.take(self.rest.len());
                self.push_text(text.0, text.1);
                return Ok(());
            };
            let (text, line) = self.take(start);
            self.take(2);
            let trims_left = matches!(self.rest, [b'-', space, ..] if is_space(*space));
            self.push_text(if trims_left { trim_end(text) } else { text }, line);
            let open = self.line;
            if trims_left {
                self.take(2);
            }
            trim = if self.rest.starts_with(b"/*") {
                self.comment()?
            } else {
                self.tokens.push(Token {
                    kind: Kind::Open,
                    line: open,
                });
                self.action()?
            };
        }
    }

    /// Skips a comment with its closing delimiter; tells whether the text after it is to be trimmed.
    fn comment(&mut self) -> Result<bool, TemplateError> {
        let content = self.rest.get(2..).unwrap_or_default();
        let Some(end) = find(content, b"*/") else {
            return Err(self.error("a comment is not closed"));
        };
        self.take(2 + end + 2);
        if self.rest.starts_with(b"}}") {
            self.take(2);
            Ok(false)
        } else if matches!(self.rest, [space, b'-', b'}', b'}', ..] if is_space(*space)) {
            self.take(4);
            Ok(true)
        } else {
            Err(self.error("a comment ends before its action does: expected `}}` right after `*/`"))
        }
    }

    /// The tokens of one action; tells whether the text after it is to be trimmed.
    fn action(&mut self) -> Result<bool, TemplateError> {
        loop {
            let spaces = self.rest.iter().take_while(|byte| is_space(**byte)).count();
            let trims = spaces > 0
                && self
                    .rest
                    .get(spaces..)
                    .is_some_and(|rest| rest.starts_with(b"-}}"));
            if trims || self.rest.starts_with(b"}}") {
                if self.parentheses > 0 {
                    return Err(self.error("a parenthesis is not closed before `}}`"));
                }
                if spaces > 1 {
                    self.push(Kind::Space);
                }
                self.take(spaces + if trims { 1 } else { 0 });
                self.push(Kind::Close);
                self.take(2);
                return Ok(trims);
            }
            if spaces > 0 {
                self.push(Kind::Space);
                self.take(spaces);
                continue;
            }
            self.token()?;
        }
    }

    /// One token that is neither white space nor a delimiter.
    fn token(&mut self) -> Result<(), TemplateError> {
        let line = self.line;
        let next = self.character_at(0)?;
        let kind = match next {
            None => return Err(self.error("an action is not closed: expected `}}`")),
            Some('=') => self.simple(1, Kind::Assign),
            Some(':') if self.rest.get(1) == Some(&b'=') => self.simple(2, Kind::Declare),
            Some(':') => return Err(self.error("expected `:=`")),
            Some('|') => self.simple(1, Kind::Bar),
            Some(',') => self.simple(1, Kind::Comma),
            Some('(') => {
                self.parentheses += 1;
                self.simple(1, Kind::Left)
            }
            Some(')') => {
                let Some(left) = self.parentheses.checked_sub(1) else {
                    return Err(self.error("a `)` without its `(`"));
                };
                self.parentheses = left;
                self.simple(1, Kind::Right)
            }
            Some('"') => Kind::Quoted(self.quoted(b'"', "string")?),
            Some('\'') => Kind::Character(self.quoted(b'\'', "character")?),
            Some('`') => self.raw()?,
            Some('.') if !self.rest.get(1).is_some_and(u8::is_ascii_digit) => self.field()?,
            Some('$') => {
                let length = self.alphanumeric(1)?;
                self.terminated(length)?;
                Kind::Variable(self.text_of(length)?)
            }
            Some('+' | '-' | '.' | '0'..='9') => Kind::Number(self.number()?),
            Some(letter) if is_alphanumeric(letter) => self.word()?,
            Some(other) => return Err(self.error(format!("unexpected {other:?} in an action"))),
        };
        self.tokens.push(Token { kind, line });
        Ok(())
    }

    fn simple(&mut self, length: usize, kind: Kind<'s>) -> Kind<'s> {
        self.take(length);
        kind
    }

    fn field(&mut self) -> Result<Kind<'s>, TemplateError> {
        let length = self.alphanumeric(1)?;
        self.terminated(length)?;
        let name = self.text_of(length)?;
        Ok(name
            .strip_prefix('.')
            .filter(|name| !name.is_empty())
            .map_or(Kind::Dot, Kind::Field))
    }

    fn word(&mut self) -> Result<Kind<'s>, TemplateError> {
        let length = self.alphanumeric(0)?;
        self.terminated(length)?;
        let word = self.text_of(length)?;
        Ok(match word {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "nil" => Kind::Nil,
            _ => Keyword::named(word).map_or(Kind::Word(word), Kind::Keyword),
        })
    }

    /// A string or character with its quotes, on one line, escapes not yet undone.
    fn quoted(&mut self, quote: u8, what: &str) -> Result<&'s str, TemplateError> {
        let mut length = 1;
        loop {
            match self.rest.get(length) {
                None | Some(b'\n') => return Err(self.error(format!("a {what} is not closed on its line"))),
                Some(b'\\') if !matches!(self.rest.get(length + 1), None | Some(b'\n')) => length += 2,
                Some(byte) if *byte == quote => return self.text_of(length + 1),
                Some(_) => length += 1,
            }
        }
    }

    fn raw(&mut self) -> Result<Kind<'s>, TemplateError> {
        let rest = self.rest.get(1..).unwrap_or_default();
        let Some(length) = find(rest, b"`") else {
            return Err(self.error("a raw string is not closed"));
        };
        self.take(1);
        let content = self.text_of(length)?;
        self.take(1);
        Ok(Kind::Raw(content))
    }

    /// Everything that can belong to a number; whether it is one is decided when it is converted.
    fn number(&mut self) -> Result<&'s str, TemplateError> {
        let mut length = usize::from(matches!(self.rest.first(), Some(b'+' | b'-')));
        let hexadecimal = matches!(self.rest.get(length..), Some([b'0', b'x' | b'X', ..]));
        while let Some(byte) = self.rest.get(length) {
            let after_exponent = length > 0
                && self.rest.get(length - 1).is_some_and(|last| match last {
                    b'e' | b'E' => !hexadecimal,
                    b'p' | b'P' => hexadecimal,
                    _ => false,
                });
            let belongs = byte.is_ascii_alphanumeric()
                || matches!(byte, b'_' | b'.')
                || (after_exponent && matches!(byte, b'+' | b'-'));
            if !belongs {
                break;
            }
            length += 1;
        }
        let bad = match self.character_at(length)? {
            Some(sign @ ('+' | '-')) => Some(sign),
            Some(letter) if is_alphanumeric(letter) => Some(letter),
            _ => None,
        };
        if let Some(bad) = bad {
            return Err(self.error(format!("a number cannot go on with {bad:?}")));
        }
        self.text_of(length)
    }

    /// The length of the run of letters, digits and underscores that begins at `start`, plus `start`.
    fn alphanumeric(&self, start: usize) -> Result<usize, TemplateError> {
        let mut length = start;
        while let Some(letter) = self
            .character_at(length)?
            .filter(|letter| is_alphanumeric(*letter))
        {
            length += letter.len_utf8();
        }
        Ok(length)
    }

    /// Checks that a name may end at `length`.
    fn terminated(&self, length: usize) -> Result<(), TemplateError> {
        let rest = self.rest.get(length..).unwrap_or_default();
        match rest.first() {
            None | Some(b'.' | b',' | b'|' | b':' | b')' | b'(') => Ok(()),
            Some(byte) if is_space(*byte) || rest.starts_with(b"}}") => Ok(()),
            Some(_) => match self.character_at(length)? {
                Some(bad) => Err(self.error(format!("unexpected {bad:?} after a name"))),
                None => Ok(()),
            },
        }
    }

    /// The character at an offset; `None` at the end of the source.
    fn character_at(&self, offset: usize) -> Result<Option<char>, TemplateError> {
        let rest = self.rest.get(offset..).unwrap_or_default();
        let Some(first) = rest.first() else {
            return Ok(None);
        };
        let length = match first {
            0..=0x7f => return Ok(Some(char::from(*first))),
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        };
        rest.get(..length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|text| text.chars().next())
            .map(Some)
            .ok_or_else(|| self.error("an action is not valid UTF-8"))
    }

    fn text_of(&mut self, length: usize) -> Result<&'s str, TemplateError> {
        let line = self.line;
        let (bytes, _) = self.take(length);
        std::str::from_utf8(bytes).map_err(|_| TemplateError::at(line, "an action is not valid UTF-8"))
    }

    /// Moves past `length` bytes; gives them and the line they begin on.
    fn take(&mut self, length: usize) -> (&'s [u8], u32) {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        let line = self.line;
        let breaks = taken.iter().filter(|byte| **byte == b'\n').count();
        self.line = line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        self.rest = rest;
        (taken, line)
    }

    fn push(&mut self, kind: Kind<'s>) {
        self.tokens.push(Token {
            kind,
            line: self.line,
        });
    }

    fn push_text(&mut self, text: &'s [u8], line: u32) {
        if !text.is_empty() {
            self.tokens.push(Token {
                kind: Kind::Text(text),
                line,
            });
        }
    }

    fn error(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::at(self.line, message)
    }
}

fn is_alphanumeric(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

fn trim_end(text: &[u8]) -> &[u8] {
    let kept = text
        .iter()
        .rposition(|byte| !is_space(*byte))
        .map_or(0, |last| last + 1);
    text.get(..kept).unwrap_or_default()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
