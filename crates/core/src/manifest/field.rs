//! Fields of the document: a value, where it stands, and the report for what is wrong with it.

use std::borrow::Cow;
use std::fmt;

use super::bytes::decode_base64;
use super::document::Node;
use super::path::{Path, Quoted};
use super::report::{Report, Reported, Unusable, WarningKind};

/// Which names a map may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// 1 to 253 bytes.
    Ordinary,
    /// Paths of files: 1 to 4096 bytes.
    Paths,
    /// Of environment variables: 1 to 253 bytes, without `=`.
    Variables,
}

impl Names {
    const fn longest(self) -> usize {
        match self {
            Self::Ordinary | Self::Variables => 253,
            Self::Paths => 4096,
        }
    }
}

/// A value in the document, or the lack of one, with its path.
#[derive(Clone, Copy)]
pub(super) struct Field<'p, 'd> {
    node: Option<&'d Node<'d>>,
    pub path: Path<'p>,
    pub report: &'p Report,
}

impl<'p, 'd> Field<'p, 'd> {
    /// The document as a field.
    pub fn root(node: &'d Node<'d>, report: &'p Report) -> Self {
        Self {
            node: Some(node),
            path: Path::ROOT,
            report,
        }
    }

    /// The same value; what is wrong with it is told to another report.
    pub fn reporting_to<'s>(&self, report: &'s Report) -> Field<'s, 'd>
    where
        'p: 's,
    {
        Field {
            node: self.node,
            path: self.path,
            report,
        }
    }

    /// The value; `null` equals absent.
    pub fn given(&self) -> Option<&'d Node<'d>> {
        self.node.filter(|node| **node != Node::Null)
    }

    /// Whether nothing is given but what Go clients write for nothing.
    pub fn is_zero(&self) -> bool {
        self.node.is_none_or(Node::is_zero)
    }

    /// Whether nothing is given, however deep, but what Go clients write for nothing.
    pub fn is_blank(&self) -> bool {
        self.node.is_none_or(Node::is_blank)
    }

    /// Whether there is a map with at least one entry, `null` being none, or something that is no map at all.
    pub fn has_entries(&self) -> bool {
        match self.given() {
            None => false,
            Some(Node::Object(fields)) => fields.iter().any(|(_, value)| *value != Node::Null),
            Some(_) => true,
        }
    }

    /// Reports a problem with this value.
    pub fn problem(&self, message: impl fmt::Display) -> Reported {
        self.report.problem(&self.path, message)
    }

    /// Reports a problem of type.
    pub fn expected(&self, what: impl fmt::Display) -> Reported {
        let found = self.node.unwrap_or(&Node::Null).describe();
        self.problem(format_args!("expected {what}, found {found}"))
    }

    /// Reports a warning about this value.
    pub fn warn(&self, kind: WarningKind, message: impl fmt::Display) {
        self.report.warning(kind, &self.path, message);
    }

    /// A string; the empty one counts.
    pub fn text_or_empty(&self) -> Result<Option<&'d str>, Reported> {
        match self.given() {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.expected("a string")),
        }
    }

    /// A string; the empty one is not given.
    pub fn text(&self) -> Result<Option<&'d str>, Reported> {
        Ok(self.text_or_empty()?.filter(|text| !text.is_empty()))
    }

    /// A string that has to be there.
    pub fn required_text(&self, why: &str) -> Result<&'d str, Reported> {
        self.text()?
            .ok_or_else(|| self.problem(format_args!("missing: {why}")))
    }

    /// `true` or `false`, which is the same as absent.
    pub fn try_flag(&self) -> Result<bool, Reported> {
        match self.given() {
            None => Ok(false),
            Some(Node::Bool(value)) => Ok(*value),
            Some(_) => Err(self.expected("true or false")),
        }
    }

    /// `true` or `false`, for those to whom a value of the wrong type is as good as none.
    pub fn flag(&self) -> bool {
        self.try_flag().unwrap_or(false)
    }

    /// `true` or `false`, where `false` says something; a value of the wrong type is as good as none.
    pub fn given_flag(&self) -> Option<bool> {
        self.given().and(self.try_flag().ok())
    }

    /// A whole number up to `most`; zero counts.
    pub fn number(&self, most: u64) -> Result<Option<u64>, Reported> {
        match self.given() {
            None => Ok(None),
            Some(Node::Unsigned(value)) if *value <= most => Ok(Some(*value)),
            Some(Node::Float(value)) if value.fract() == 0.0 => Err(self.expected(format_args!(
                "a whole number from 0 to {most}, without decimal point and exponent"
            ))),
            Some(_) => Err(self.expected(format_args!("a whole number from 0 to {most}"))),
        }
    }

    /// The items of a list, `None` when there is no list.
    pub fn items<'s>(&'s self) -> Result<Option<impl ExactSizeIterator<Item = Field<'s, 'd>>>, Reported>
    where
        'p: 's,
    {
        let list = match self.given() {
            None => return Ok(None),
            Some(Node::List(list)) => list,
            Some(_) => return Err(self.expected("a list")),
        };
        Ok(Some(list.iter().enumerate().map(|(index, node)| Field {
            node: Some(node),
            path: self.path.item(index),
            report: self.report,
        })))
    }

    /// A list of strings: those items that are strings, the others are reported.
    pub fn texts(&self) -> Vec<(Field<'_, 'd>, &'d str)> {
        let Ok(Some(items)) = self.items() else {
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.text_or_empty() {
                Ok(Some(text)) => texts.push((item, text)),
                Ok(None) => drop(item.expected("a string")),
                Err(Reported) => {}
            }
        }
        texts
    }

    /// Bytes: a base64 string or a list of integers 0 to 255. None at all is not given.
    pub fn bytes(&self) -> Result<Option<Vec<u8>>, Reported> {
        const EXPECTED: &str = "bytes (base64 with padding, or a list of numbers from 0 to 255)";
        let bytes = match self.given() {
            None => return Ok(None),
            Some(Node::Text(text)) => decode_base64(text).ok_or_else(|| {
                self.problem(format_args!(
                    "expected {EXPECTED}, found a string that is not base64"
                ))
            })?,
            Some(Node::List(list)) => {
                let mut bytes = Vec::with_capacity(list.len());
                for (index, node) in list.iter().enumerate() {
                    match node {
                        Node::Unsigned(value) if *value <= 255 => bytes.push(*value as u8),
                        other => {
                            let found = other.describe();
                            let message = format!("expected a number from 0 to 255, found {found}");
                            return Err(self.report.problem(&self.path.item(index), message));
                        }
                    }
                }
                bytes
            }
            Some(_) => return Err(self.expected(EXPECTED)),
        };
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// `N` bytes in hex, ignoring case. The empty string is not given.
    pub fn hex<const N: usize>(&self) -> Result<Option<[u8; N]>, Reported> {
        let Some(text) = self.text()? else {
            return Ok(None);
        };
        let mut bytes = [0; N];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(_) => {
                let digits = 2 * N;
                let found = match text.chars().count() {
                    length if length == digits => "other characters".to_owned(),
                    length => format!("{length} characters"),
                };
                Err(self.problem(format_args!(
                    "expected {digits} hexadecimal digits ({N} bytes), found {found}"
                )))
            }
        }
    }

    /// The entries of a map with names chosen by the author, in the order of the document. What is `null` is
    /// absent; names that break the rules are reported and left out.
    pub fn entries(&self, names: Names) -> Vec<(&'d str, Field<'_, 'd>)> {
        let fields = match self.given() {
            None => return Vec::new(),
            Some(Node::Object(fields)) => fields,
            Some(_) => {
                self.expected("an object");
                return Vec::new();
            }
        };
        self.report_repeated(fields);
        let mut entries = Vec::with_capacity(fields.len());
        for (name, node) in fields {
            let field = Field {
                node: Some(node),
                path: self.path.name(name),
                report: self.report,
            };
            if name.is_empty() || name.len() > names.longest() {
                let length = name.len();
                let longest = names.longest();
                field.problem(format_args!(
                    "expected a name of 1 to {longest} bytes, found {length} bytes"
                ));
            } else if name.chars().any(char::is_control) {
                field.problem("expected a name without NUL and control characters");
            } else if names == Names::Variables && name.contains('=') {
                field.problem("expected a name without =, as no environment variable can have it");
            } else if field.given().is_some() {
                entries.push((name.as_ref(), field));
            }
        }
        entries
    }

    fn report_repeated(&self, fields: &[(Cow<'d, str>, Node<'d>)]) {
        let mut sorted: Vec<&str> = fields.iter().map(|(name, _)| name.as_ref()).collect();
        sorted.sort_unstable();
        let mut last_reported = None;
        for pair in sorted.windows(2) {
            if let [first, second] = pair
                && first == second
                && last_reported != Some(first)
            {
                self.report
                    .problem(&self.path.name(first), "this name is given more than once");
                last_reported = Some(first);
            }
        }
    }

    /// An object with the fields `known`; anything else in it gets a warning.
    pub fn object(&self, known: &'static [&'static str]) -> Result<Object<'p, 'd>, Reported> {
        self.object_with(known, |path, _| self.unknown_is_ignored(path))
    }

    /// An object with the reference values `known`. What is not one of them is ignored with a warning, as everywhere,
    /// unless `meant` finds out what it has to mean: to ignore that would be to leave out a check.
    pub fn references(
        &self,
        known: &'static [&'static str],
        unusable: Unusable,
        meant: impl Fn(&str) -> Option<String>,
    ) -> Result<Object<'p, 'd>, Reported> {
        let is_problem = unusable == Unusable::IsAProblem;
        self.object_with(known, |path, name| match meant(name).filter(|_| is_problem) {
            Some(meant) => {
                let question = format_args!("unknown field; is {meant} meant?");
                self.report.problem(path, question);
            }
            None => self.unknown_is_ignored(path),
        })
    }

    fn unknown_is_ignored(&self, path: &Path<'_>) {
        self.report
            .warning(WarningKind::UnknownField, path, "unknown field, it is ignored");
    }

    /// An object with the fields `known`, where to ignore anything else would be to leave out a check.
    pub fn whole_object(&self, known: &'static [&'static str]) -> Result<Object<'p, 'd>, Reported> {
        self.object_with(known, |path, _| {
            let message = format!("unknown field; there are {}", known.join(", "));
            self.report.problem(path, message);
        })
    }

    fn object_with(
        &self,
        known: &'static [&'static str],
        unknown: impl Fn(&Path<'_>, &str),
    ) -> Result<Object<'p, 'd>, Reported> {
        let mut values = vec![None; known.len()];
        let fields = match self.given() {
            None => &[],
            Some(Node::Object(fields)) => fields.as_slice(),
            Some(_) => return Err(self.expected("an object")),
        };
        let mut spellings = vec![""; known.len()];
        let mut has_unknown = false;
        for (name, node) in fields {
            let position = known.iter().position(|known| known.eq_ignore_ascii_case(name));
            let slot =
                position.and_then(|at| Some((values.get_mut(at)?, spellings.get_mut(at)?, known.get(at)?)));
            match slot {
                None => {
                    has_unknown = true;
                    unknown(&self.path.name(name), name);
                }
                Some((Some(_), spelling, known)) => {
                    let (first, second) = (Quoted(spelling), Quoted(name));
                    let message = format!("this field is given more than once, as {first} and as {second}");
                    self.report.problem(&self.path.name(known), message);
                }
                Some((value, spelling, _)) => {
                    *value = Some(node);
                    *spelling = name;
                }
            }
        }
        Ok(Object {
            path: self.path,
            report: self.report,
            known,
            values,
            has_unknown,
        })
    }
}

/// An object with known fields, found by their names ignoring case.
pub(super) struct Object<'p, 'd> {
    pub path: Path<'p>,
    report: &'p Report,
    known: &'static [&'static str],
    values: Vec<Option<&'d Node<'d>>>,
    /// Whether there are fields that are not known.
    pub has_unknown: bool,
}

impl<'d> Object<'_, 'd> {
    /// A field by its name as the specification writes it.
    pub fn field<'s>(&'s self, name: &'static str) -> Field<'s, 'd> {
        let position = self.known.iter().position(|known| *known == name);
        debug_assert!(position.is_some(), "{name} is not among the known fields");
        let node = position.and_then(|at| *self.values.get(at)?);
        Field {
            node,
            path: self.path.name(name),
            report: self.report,
        }
    }

    /// Reports a problem with the object as a whole.
    pub fn problem(&self, message: impl fmt::Display) -> Reported {
        self.report.problem(&self.path, message)
    }

    /// Reports a warning about the object as a whole.
    pub fn warn(&self, kind: WarningKind, message: impl fmt::Display) {
        self.report.warning(kind, &self.path, message);
    }
}
