//! The JSON document as a tree.
//!
//! A tree of our own because the usual ones drop all but the last of repeated fields, and with it the evidence
//! that a manifest says two things at once. Reading bounds what it builds: nesting, entries, values.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Limits;
use super::path::Path;
use super::report::{Limit, ManifestError};

/// A JSON value. Strings without escapes borrow from the document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'d> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(Cow<'d, str>),
    List(Vec<Node<'d>>),
    /// Fields in the order of the document, repeated ones too.
    Object(Vec<(Cow<'d, str>, Node<'d>)>),
}

impl Node<'_> {
    /// What it is, with its article, for error messages. Values are shown only of numbers and flags.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Unsigned(value) => format!("the number {value}"),
            Self::Negative(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(_) => "a string".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }

    /// Whether this is what Go clients write for a field that was not given.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Unsigned(value) => *value == 0,
            Self::Negative(_) => false,
            Self::Float(value) => *value == 0.0,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(fields) => fields.is_empty(),
        }
    }

    /// Whether this is what Go clients write for a structure in which nothing was given.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Object(fields) => fields.iter().all(|(_, value)| value.is_blank()),
            other => other.is_zero(),
        }
    }
}

/// Reads a document: one JSON value and nothing after it. Without `limits` only the nesting is bounded.
pub(super) fn parse<'d>(raw: &'d [u8], limits: Option<&Limits>) -> Result<Node<'d>, ManifestError> {
    if let Some(limits) = limits.filter(|limits| raw.len() > limits.bytes) {
        let path = Path::ROOT.to_string();
        return Err(ManifestError::TooLarge {
            limit: Limit::Bytes,
            allowed: limits.bytes,
            path,
        });
    }
    let entries = limits.map_or(usize::MAX, |limits| limits.entries);
    let bounds = Bounds {
        entries,
        elsewhere: entries.max(Limits::FIELDS),
        values: limits.map_or(usize::MAX, |_| Limits::VALUES),
        seen: Cell::new(0),
        exceeded: RefCell::new(None),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(raw);
    let seed = NodeSeed {
        bounds: &bounds,
        path: Path::ROOT,
        depth: 0,
        entries: bounds.elsewhere,
    };
    let read = seed
        .deserialize(&mut deserializer)
        .and_then(|node| deserializer.end().map(|()| node));
    read.map_err(|error| bounds.exceeded.take().unwrap_or_else(|| syntax(&error)))
}

fn syntax(error: &serde_json::Error) -> ManifestError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let message = text
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&text)
        .to_owned();
    ManifestError::Syntax {
        line,
        column,
        message,
    }
}

struct Bounds {
    /// For a section.
    entries: usize,
    /// For any other list or object.
    elsewhere: usize,
    values: usize,
    seen: Cell<usize>,
    exceeded: RefCell<Option<ManifestError>>,
}

impl Bounds {
    /// Stops reading; `parse` finds the reason here because the error of the JSON library can carry text only.
    fn exceed<E: serde::de::Error>(&self, limit: Limit, allowed: usize, path: &Path<'_>) -> E {
        let error = ManifestError::TooLarge {
            limit,
            allowed,
            path: path.to_string(),
        };
        let text = error.to_string();
        *self.exceeded.borrow_mut() = Some(error);
        E::custom(text)
    }
}

#[derive(Clone, Copy)]
struct NodeSeed<'s> {
    bounds: &'s Bounds,
    path: Path<'s>,
    /// Objects and lists around this value.
    depth: usize,
    /// How many entries it may have.
    entries: usize,
}

impl NodeSeed<'_> {
    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth < Limits::NESTING {
            Ok(())
        } else {
            Err(self.bounds.exceed(Limit::Nesting, Limits::NESTING, &self.path))
        }
    }

    fn room_for_one_more<E: serde::de::Error>(&self, length: usize) -> Result<(), E> {
        if length < self.entries {
            Ok(())
        } else {
            Err(self.bounds.exceed(Limit::Entries, self.entries, &self.path))
        }
    }
}

impl<'d> DeserializeSeed<'d> for NodeSeed<'_> {
    type Value = Node<'d>;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<Node<'d>, D::Error> {
        let seen = self.bounds.seen.get() + 1;
        if seen > self.bounds.values {
            return Err(self.bounds.exceed(Limit::Values, self.bounds.values, &Path::ROOT));
        }
        self.bounds.seen.set(seen);
        deserializer.deserialize_any(self)
    }
}

impl<'d> Visitor<'d> for NodeSeed<'_> {
    type Value = Node<'d>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'d>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'d>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'d>, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'d>, E> {
        Ok(u64::try_from(value).map_or(Node::Negative(value), Node::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'d>, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'d str) -> Result<Node<'d>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'d>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut access: A) -> Result<Node<'d>, A::Error> {
        self.enter()?;
        let mut items = Vec::new();
        loop {
            let seed = NodeSeed {
                bounds: self.bounds,
                path: self.path.item(items.len()),
                depth: self.depth + 1,
                entries: self.bounds.elsewhere,
            };
            let Some(item) = access.next_element_seed(seed)? else {
                break;
            };
            self.room_for_one_more(items.len())?;
            items.push(item);
        }
        items.shrink_to_fit();
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'d>>(self, mut access: A) -> Result<Node<'d>, A::Error> {
        self.enter()?;
        let mut fields = Vec::new();
        while let Some(name) = access.next_key_seed(NameSeed)? {
            self.room_for_one_more(fields.len())?;
            let is_section = self.depth == 0 && !name.eq_ignore_ascii_case("Config");
            let seed = NodeSeed {
                bounds: self.bounds,
                path: self.path.name(&name),
                depth: self.depth + 1,
                entries: if is_section {
                    self.bounds.entries
                } else {
                    self.bounds.elsewhere
                },
            };
            let value = access.next_value_seed(seed)?;
            fields.push((name, value));
        }
        fields.shrink_to_fit();
        Ok(Node::Object(fields))
    }
}

/// The name of a field; borrows where it can.
struct NameSeed;

impl<'d> DeserializeSeed<'d> for NameSeed {
    type Value = Cow<'d, str>;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'d> Visitor<'d> for NameSeed {
    type Value = Cow<'d, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, value: &'d str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}
