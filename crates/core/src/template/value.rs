//! Values while a template is rendered: small ones inline, text wiped after use, secrets as references only.

use super::object::{Object, Owner, Part};
use crate::secret::value::SecretBytes;

/// A string of Go: any bytes. It may be an encoded secret, so it is treated as one.
pub(super) type Text = SecretBytes;

/// How an action prints nil.
pub(super) const NO_VALUE: &[u8] = b"<no value>";

/// A value.
#[derive(Clone)]
pub(super) enum Value {
    /// `nil`, or the dot of a template called without one.
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// What indexing a string gives.
    Byte(u8),
    Float(f64),
    Text(Text),
    /// A secret, or a way to one. Never a [`Object::Piece`]: that is `Piece` here.
    Object(Object),
    /// Some bytes of a key.
    Piece {
        owner: Owner,
        part: Part,
        start: usize,
        end: usize,
    },
}

impl Value {
    /// How an error names the type; also what `%T` prints.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Byte(_) => "uint8",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Object(_) | Value::Piece { .. } => "secret",
        }
    }

    /// The secret or way to one, if it is one.
    pub(super) fn object(&self) -> Option<Object> {
        match self {
            Value::Object(object) => Some(object.clone()),
            Value::Piece { owner, part, .. } => Some(Object::Piece(owner.clone(), *part)),
            _ => None,
        }
    }

    /// An error if it cannot be printed.
    pub(super) fn check_printable(&self) -> Result<(), String> {
        self.object().map_or(Ok(()), |object| Err(object.unprintable()))
    }

    /// As an index into something; `None` for other types.
    pub(super) fn index(&self) -> Option<i128> {
        match self {
            Value::Int(value) => Some(i128::from(*value)),
            Value::Uint(value) => Some(i128::from(*value)),
            Value::Byte(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// How much work it is to go through the value.
    pub(super) fn weight(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            _ => 0,
        }
    }

    /// Whether two values are equal, by the rules of `eq`.
    pub(super) fn equals(&self, other: &Self) -> Result<bool, String> {
        match (self, other) {
            (Value::Nil, Value::Nil) => Ok(true),
            (Value::Nil, _) | (_, Value::Nil) => Ok(false),
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            #[expect(clippy::float_cmp, reason = "`eq` of floats is exact")]
            (Value::Float(a), Value::Float(b)) => Ok(a == b),
            (Value::Text(a), Value::Text(b)) => Ok(a == b),
            _ => match (self.index(), other.index()) {
                (Some(a), Some(b)) => Ok(a == b),
                _ => Err(incomparable(self.type_name(), other.type_name())),
            },
        }
    }

    /// Whether this value is less than the other, by the rules of `lt`.
    pub(super) fn is_less(&self, other: &Self) -> Result<bool, String> {
        match (self, other) {
            (Value::Float(a), Value::Float(b)) => Ok(a < b),
            (Value::Text(a), Value::Text(b)) => Ok(a.expose() < b.expose()),
            _ => match (self.index(), other.index()) {
                (Some(a), Some(b)) => Ok(a < b),
                _ => Err(incomparable(self.type_name(), other.type_name())),
            },
        }
    }
}

/// The message for values that no comparison takes together.
pub(super) fn incomparable(left: &str, right: &str) -> String {
    format!("{left} and {right} cannot be compared: expected two numbers of one kind, or two strings")
}
