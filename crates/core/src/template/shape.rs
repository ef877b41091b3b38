//! What the check knows about a value: the set of forms it can have when the template is rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::TemplateError;
use super::object::{Object, Owner};
use crate::manifest::Name;

/// One form of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    Nil,
    Bool,
    Int,
    Uint,
    Byte,
    Float,
    /// A string, known where it stands in the source.
    Text(Option<Name>),
    Object(Object),
}

/// All forms a value can have. None at all: an error was reported already.
pub(super) type Shapes = Arc<BTreeSet<Shape>>;

/// More forms than this are merged into unknown strings and unknown secrets.
const PRECISION: usize = 16;

impl Shape {
    /// How an error names the type.
    pub(super) fn type_name(&self) -> String {
        match self {
            Shape::Nil => "nil".into(),
            Shape::Bool => "bool".into(),
            Shape::Int => "int".into(),
            Shape::Uint => "uint".into(),
            Shape::Byte => "uint8".into(),
            Shape::Float => "float64".into(),
            Shape::Text(_) => "string".into(),
            Shape::Object(object) => object.describe(),
        }
    }

    /// The form that covers this one, without the name in it; `None` when there is no name in it.
    fn generalised(&self) -> Option<Self> {
        let any = |owner: &Owner| match owner {
            Owner::Secret(age, Some(_)) => Some(Owner::Secret(*age, None)),
            _ => None,
        };
        match self {
            Shape::Text(Some(_)) => Some(Shape::Text(None)),
            Shape::Object(Object::Whole(owner)) => any(owner).map(Object::Whole).map(Shape::Object),
            Shape::Object(Object::Part(owner, part)) => {
                any(owner).map(|owner| Shape::Object(Object::Part(owner, *part)))
            }
            Shape::Object(Object::Piece(owner, part)) => {
                any(owner).map(|owner| Shape::Object(Object::Piece(owner, *part)))
            }
            _ => None,
        }
    }

    /// Whether it can index a string.
    pub(super) fn is_index(&self) -> bool {
        matches!(self, Shape::Int | Shape::Uint | Shape::Byte)
    }

    /// Whether a value of this form is false whatever it is.
    pub(super) fn is_always_false(&self) -> bool {
        *self == Shape::Nil
    }

    /// Whether a value of this form is true whatever it is.
    pub(super) fn is_always_true(&self) -> bool {
        matches!(
            self,
            Shape::Object(Object::Root | Object::Previous | Object::MarbleRun | Object::Whole(_))
                | Shape::Object(Object::Part(_, super::object::Part::Cert))
        )
    }
}

/// A set of one.
pub(super) fn only(shape: Shape) -> Shapes {
    Arc::new(BTreeSet::from([shape]))
}

/// What can be one or the other.
pub(super) fn join(left: &Shapes, right: &Shapes) -> Shapes {
    if Arc::ptr_eq(left, right) || right.is_subset(left) {
        return left.clone();
    }
    collect(left.iter().chain(right.iter()).cloned())
}

/// A set of these forms, merged where there are many; what an unknown form covers is left out.
pub(super) fn collect(shapes: impl IntoIterator<Item = Shape>) -> Shapes {
    let mut set: BTreeSet<Shape> = shapes.into_iter().collect();
    if set.len() > PRECISION {
        set = set
            .into_iter()
            .map(|shape| shape.generalised().unwrap_or(shape))
            .collect();
    }
    let covered: Vec<Shape> = set
        .iter()
        .filter(|shape| shape.generalised().is_some_and(|general| set.contains(&general)))
        .cloned()
        .collect();
    for shape in &covered {
        set.remove(shape);
    }
    Arc::new(set)
}

/// The variables of a template at one place in it, by slot.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Variables(Vec<Shapes>);

impl Variables {
    /// Only `$`.
    pub(super) fn new(dot: Shapes) -> Self {
        Self(vec![dot])
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What a variable can be; nothing when it was never set.
    pub(super) fn get(&self, slot: usize) -> Shapes {
        self.0.get(slot).cloned().unwrap_or_default()
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, slot: usize, shapes: Shapes) {
        if slot >= self.0.len() {
            self.0.resize(slot + 1, Shapes::default());
        }
        if let Some(variable) = self.0.get_mut(slot) {
            *variable = shapes;
        }
    }

    /// Forgets all but the first `length`.
    pub(super) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Takes in what the variables can be on another way to the same place.
    pub(super) fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = join(mine, theirs);
        }
    }
}

/// Errors and warnings, each once, in the order of the text.
///
/// At most [`MESSAGES`]: whoever wrote so many needs no more.
#[derive(Default)]
pub(super) struct Messages {
    by_line: BTreeMap<u32, Vec<String>>,
    count: usize,
}

const MESSAGES: usize = 100;

impl Messages {
    /// Adds one unless it is known.
    pub(super) fn add(&mut self, line: u32, message: String) {
        if self.count >= MESSAGES {
            return;
        }
        let messages = self.by_line.entry(line).or_default();
        if !messages.contains(&message) {
            messages.push(message);
            self.count += 1;
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_line.is_empty()
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<TemplateError> {
        self.by_line
            .into_iter()
            .flat_map(|(line, messages)| {
                messages
                    .into_iter()
                    .map(move |message| TemplateError::at(line, message))
            })
            .collect()
    }
}
