//! The check of function calls: which forms of arguments a function takes, and what it gives.

use super::check::Checker;
use super::functions::Function;
use super::object::{Object, Owner, Part, Specs, secret};
use super::shape::{Shape, Shapes, collect, only};
use super::value::incomparable;

impl Checker<'_> {
    /// The forms of the result; errors are reported at `line`.
    pub(super) fn call(&mut self, line: u32, function: Function, arguments: &[Shapes]) -> Shapes {
        if let Err(message) = function.check_count(arguments.len()) {
            self.error(line, message);
            return Shapes::default();
        }
        let first = arguments.first().cloned().unwrap_or_default();
        let rest = arguments.get(1..).unwrap_or_default();
        match function {
            Function::And | Function::Or => self.choice(function, arguments),
            Function::Not => {
                self.truth(&first);
                only(Shape::Bool)
            }
            Function::Equal | Function::NotEqual => {
                // A key part may be compared with nil: then it counts whether it is there.
                for argument in arguments {
                    self.truth(argument);
                }
                // Further arguments of `eq` are compared only while none was equal.
                if let Some(second) = rest.first() {
                    self.comparable(line, &first, second, may_be_equal);
                }
                only(Shape::Bool)
            }
            Function::Less | Function::LessOrEqual | Function::Greater | Function::GreaterOrEqual => {
                if let Some(second) = rest.first() {
                    self.comparable(line, &first, second, may_be_less);
                }
                only(Shape::Bool)
            }
            Function::Length => {
                for shape in first.iter() {
                    match shape {
                        Shape::Object(Object::Secrets(_)) => {}
                        Shape::Object(object) => self.error(line, object.unprintable()),
                        _ => {}
                    }
                }
                self.each(line, &first, |shape| match shape {
                    Shape::Text(_) | Shape::Object(_) => Ok(Shape::Int),
                    other => Err(format!(
                        "`len` takes a string or `.Secrets`, not {}",
                        other.type_name()
                    )),
                })
            }
            Function::Index => self.index(line, first, rest),
            Function::Slice => self.slice(line, &first, rest),
            Function::Print
            | Function::Println
            | Function::Html
            | Function::Javascript
            | Function::UrlQuery => {
                for argument in arguments {
                    self.printable(line, argument);
                }
                only(Shape::Text(None))
            }
            Function::Printf => {
                let _ = self.each(line, &first, |shape| match shape {
                    Shape::Text(_) => Ok(Shape::Nil),
                    other => Err(format!(
                        "`printf` takes a format, a string, first, not {}",
                        other.type_name()
                    )),
                });
                for argument in arguments {
                    self.printable(line, argument);
                }
                only(Shape::Text(None))
            }
            Function::Call => {
                self.error(
                    line,
                    "`call` has nothing to call: no data of a template is a function",
                );
                Shapes::default()
            }
            Function::Hex | Function::Base64 | Function::Pem | Function::Raw | Function::String => {
                self.encoding(line, function, &first)
            }
        }
    }

    /// `and`, `or`: one of the arguments; all but the last only where they end the evaluation.
    fn choice(&mut self, function: Function, arguments: &[Shapes]) -> Shapes {
        let Some((last, others)) = arguments.split_last() else {
            return Shapes::default();
        };
        let mut results = Vec::new();
        for argument in others {
            self.truth(argument);
            let is_and = function == Function::And;
            let never_ends = |shape: &Shape| {
                if is_and {
                    shape.is_always_true()
                } else {
                    shape.is_always_false()
                }
            };
            let always_ends = |shape: &Shape| {
                if is_and {
                    shape.is_always_false()
                } else {
                    shape.is_always_true()
                }
            };
            results.extend(argument.iter().filter(|shape| !never_ends(shape)).cloned());
            if !argument.is_empty() && argument.iter().all(always_ends) {
                return collect(results);
            }
        }
        results.extend(last.iter().cloned());
        collect(results)
    }

    fn comparable(
        &mut self,
        line: u32,
        left: &Shapes,
        right: &Shapes,
        compare: impl Fn(&Shape, &Shape) -> Result<(), String>,
    ) {
        let mut first_error = None;
        for left in left.iter() {
            for right in right.iter() {
                match compare(left, right) {
                    Ok(()) => return,
                    Err(message) => first_error = first_error.or(Some(message)),
                }
            }
        }
        if let Some(message) = first_error {
            self.error(line, message);
        }
    }

    fn index(&mut self, line: u32, mut base: Shapes, indexes: &[Shapes]) -> Shapes {
        let specs = self.specs;
        if indexes.is_empty() {
            return self.each(line, &base, |shape| match shape {
                Shape::Nil => Err("`index` of nil".into()),
                other => Ok(other.clone()),
            });
        }
        for index in indexes {
            for shape in base.iter() {
                // A byte of a key, which no encoding could take any more.
                if let Shape::Object(object @ (Object::Part(_, _) | Object::Piece(_, _))) = shape {
                    self.error(line, object.unprintable());
                }
            }
            let pairs = base
                .iter()
                .flat_map(|base| index.iter().map(move |index| (base, index)));
            let results = pairs.map(|(base, index)| index_one(base, index, specs));
            let (found, errors): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
            if let (true, Some(Err(message))) = (found.is_empty(), errors.into_iter().next()) {
                self.error(line, message);
            }
            base = collect(found.into_iter().flatten());
        }
        base
    }

    fn slice(&mut self, line: u32, base: &Shapes, indexes: &[Shapes]) -> Shapes {
        for index in indexes {
            let _ = self.each(line, index, |shape| {
                if shape.is_index() {
                    Ok(Shape::Int)
                } else {
                    Err(format!("`slice` takes integers, not {}", shape.type_name()))
                }
            });
        }
        for shape in base.iter() {
            // Where a piece ends depends on the value.
            if let Shape::Object(Object::Part(owner, Part::Public | Part::Private)) = shape {
                self.reference(owner);
            }
        }
        let count = indexes.len();
        self.each(line, base, |shape| match shape {
            Shape::Text(_) if count <= 2 => Ok(Shape::Text(None)),
            Shape::Text(_) => Err("`slice` takes two indexes of a string at most".into()),
            Shape::Object(
                Object::Part(owner, part @ (Part::Public | Part::Private)) | Object::Piece(owner, part),
            ) if count <= 3 => Ok(Shape::Object(Object::Piece(owner.clone(), *part))),
            Shape::Object(Object::Part(_, Part::Public | Part::Private) | Object::Piece(_, _)) => {
                Err("`slice` takes three indexes at most".into())
            }
            other => Err(format!(
                "`slice` takes a string or the bytes of a key, not {}",
                other.type_name()
            )),
        })
    }

    fn encoding(&mut self, line: u32, function: Function, shapes: &Shapes) -> Shapes {
        let specs = self.specs;
        let mut first_error = None;
        let mut possible = false;
        for shape in shapes.iter() {
            let Shape::Object(object) = shape else {
                let message = match shape {
                    Shape::Nil => format!("`{}` of nil: the secret does not exist", function.name()),
                    other => format!(
                        "`{}` takes a secret or a part of one, not {}",
                        function.name(),
                        other.type_name()
                    ),
                };
                first_error = first_error.or(Some(message));
                continue;
            };
            match object.encoded_part(function, specs) {
                Ok((owner, part)) => {
                    possible = true;
                    self.reference(owner);
                    if function == Function::String {
                        self.note_string(owner);
                    }
                    if function == Function::Pem && part != Part::Cert && owner.is_bare(specs) == Some(true) {
                        self.warning(line, format!(
                            "`pem` of {} puts a block around bytes that are no key structure; hex or base64 may be meant",
                            object.describe()
                        ));
                    }
                }
                Err(message) => first_error = first_error.or(Some(message)),
            }
        }
        match first_error {
            Some(message) if !possible => self.error(line, message),
            _ => {}
        }
        only(Shape::Text(None))
    }
}

/// What indexing gives.
fn index_one(base: &Shape, index: &Shape, specs: &Specs) -> Result<Shape, String> {
    match (base, index) {
        (Shape::Object(Object::Secrets(age)), Shape::Text(Some(name))) => {
            secret(*age, name, specs).map(Object::Whole).map(Shape::Object)
        }
        (Shape::Object(Object::Secrets(age)), Shape::Text(None)) => {
            Ok(Shape::Object(Object::Whole(Owner::Secret(*age, None))))
        }
        (Shape::Object(Object::Secrets(_)), other) => Err(format!(
            "the index of `.Secrets` is a name, a string, not {}",
            other.type_name()
        )),
        (Shape::Text(_), index) if index.is_index() => Ok(Shape::Byte),
        (Shape::Text(_), other) => Err(format!(
            "the index of a string is an integer, not {}",
            other.type_name()
        )),
        // Reported already.
        (Shape::Object(Object::Part(_, _) | Object::Piece(_, _)), _) => Ok(Shape::Byte),
        (other, _) => Err(format!(
            "`index` takes `.Secrets` or a string, not {}",
            other.type_name()
        )),
    }
}

fn may_be_equal(left: &Shape, right: &Shape) -> Result<(), String> {
    match (left, right) {
        (Shape::Nil, _)
        | (_, Shape::Nil)
        | (Shape::Bool, Shape::Bool)
        | (Shape::Float, Shape::Float)
        | (Shape::Text(_), Shape::Text(_)) => Ok(()),
        (left, right) if left.is_index() && right.is_index() => Ok(()),
        (left, right) => Err(incomparable(&left.type_name(), &right.type_name())),
    }
}

fn may_be_less(left: &Shape, right: &Shape) -> Result<(), String> {
    match (left, right) {
        (Shape::Float, Shape::Float) | (Shape::Text(_), Shape::Text(_)) => Ok(()),
        (left, right) if left.is_index() && right.is_index() => Ok(()),
        (left, right) => Err(incomparable(&left.type_name(), &right.type_name())),
    }
}
