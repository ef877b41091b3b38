//! Rendering: the tree is followed with real values, within fixed bounds.

use zeroize::Zeroizing;

use super::buffer::Buffer;
use super::object::{Age, Field, Object, Owner, Property, secret};
use super::tree::{Branching, Command, List, Node, Operand, Pipeline, Range, Tree};
use super::value::{NO_VALUE, Text, Value};
use super::{Data, Place, TemplateError, format};

/// Nodes, commands, fields, rounds of loops, and each KiB that functions or the output take.
pub(super) const STEPS: usize = 100_000;

/// Structures, parentheses and called templates inside each other.
pub(super) const DEPTH: usize = 300;

/// Renders a checked tree.
pub(super) fn render(
    tree: &Tree,
    place: Place,
    data: &Data<'_>,
) -> Result<Zeroizing<Vec<u8>>, TemplateError> {
    let mut renderer = Renderer {
        tree,
        place,
        data,
        output: Buffer::new(),
        steps: STEPS,
        depth: 0,
        line: 1,
    };
    let root = Value::Object(Object::Root);
    let result = renderer.template(&tree.root, &root);
    let line = renderer.line;
    match result.and_then(|()| renderer.output.into_bytes().map_err(Failure::from)) {
        Ok(output) => Ok(output),
        Err(failure) => Err(TemplateError {
            line,
            message: failure.message,
            empty_secret: failure.empty_secret,
            nul_secret: failure.nul_secret,
        }),
    }
}

/// Why rendering stopped; where is known to the renderer.
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) empty_secret: Option<crate::manifest::Name>,
    pub(super) nul_secret: Option<crate::manifest::Name>,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self {
            message,
            empty_secret: None,
            nul_secret: None,
        }
    }
}

pub(super) struct Renderer<'a> {
    tree: &'a Tree,
    place: Place,
    pub(super) data: &'a Data<'a>,
    output: Buffer,
    steps: usize,
    depth: usize,
    /// Of the last pipeline or call begun.
    line: u32,
}

/// Where the control flow goes after a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// The variables of one call of a template, by slot; none where the declaration was not reached.
type Variables = Vec<Option<Value>>;

impl Renderer<'_> {
    fn template(&mut self, list: &List, dot: &Value) -> Result<(), Failure> {
        let mut variables = vec![Some(dot.clone())];
        self.list(list, dot, &mut variables).map(|_| ())
    }

    fn list(&mut self, list: &List, dot: &Value, variables: &mut Variables) -> Result<Flow, Failure> {
        for node in list {
            self.step()?;
            let flow = match node {
                Node::Text(text) => {
                    self.emit(text)?;
                    Flow::On
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot, variables)?;
                    if pipeline.variables.is_empty() {
                        self.print(&value)?;
                    }
                    Flow::On
                }
                Node::Branching(branching) => {
                    self.nested(|renderer| renderer.branching(branching, dot, variables))?
                }
                Node::Range(range) => self.nested(|renderer| renderer.range(range, dot, variables))?,
                Node::Call(call) => {
                    let argument = match &call.argument {
                        Some(pipeline) => self.pipeline(pipeline, dot, variables)?,
                        None => Value::Nil,
                    };
                    self.line = call.line;
                    let tree = self.tree;
                    let list = tree.definitions.get(&call.name).ok_or_else(|| {
                        format!(
                            "template \"{}\" is not defined",
                            String::from_utf8_lossy(&call.name)
                        )
                    })?;
                    self.nested(|renderer| renderer.template(list, &argument))?;
                    Flow::On
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn branching(
        &mut self,
        branching: &Branching,
        dot: &Value,
        variables: &mut Variables,
    ) -> Result<Flow, Failure> {
        let mut flow = None;
        for (pipeline, body) in &branching.branches {
            let value = self.pipeline(pipeline, dot, variables)?;
            if self.is_true(&value) {
                let inner = if branching.sets_dot { &value } else { dot };
                flow = Some(self.list(body, inner, variables)?);
                break;
            }
        }
        let flow = match flow {
            Some(flow) => flow,
            None => self.list(&branching.otherwise, dot, variables)?,
        };
        variables.truncate(branching.variables);
        Ok(flow)
    }

    fn range(&mut self, range: &Range, dot: &Value, variables: &mut Variables) -> Result<Flow, Failure> {
        let value = self.pipeline(&range.pipeline, dot, variables)?;
        let inner = variables.len();
        let data = self.data;
        let mut elements: Box<dyn Iterator<Item = (Value, Value)>> = match &value {
            Value::Nil => Box::new(std::iter::empty()),
            Value::Object(Object::Secrets(age)) => {
                let age = *age;
                Box::new(data.specs.keys().map(move |name| {
                    let owner = Owner::Secret(age, Some(name.clone()));
                    (
                        Value::Text(Text::copy_from(name.as_bytes())),
                        Value::Object(Object::Whole(owner)),
                    )
                }))
            }
            Value::Int(_) | Value::Uint(_) | Value::Byte(_) if range.pipeline.variables.len() > 1 => {
                return Err("`range` over a number sets one variable only".to_owned().into());
            }
            Value::Int(end) => Box::new((0..*end).map(|element| (Value::Nil, Value::Int(element)))),
            Value::Uint(end) => Box::new((0..*end).map(|element| (Value::Nil, Value::Uint(element)))),
            Value::Byte(end) => Box::new((0..*end).map(|element| (Value::Nil, Value::Byte(element)))),
            other => return Err(format!("`range` cannot go through a {}", other.type_name()).into()),
        };
        let mut is_empty = true;
        for (key, element) in elements.by_ref() {
            is_empty = false;
            self.step()?;
            match *range.pipeline.variables.as_slice() {
                [slot] => set(variables, slot, element.clone()),
                [first, second] => {
                    set(variables, first, key);
                    set(variables, second, element.clone());
                }
                _ => {}
            }
            let flow = self.list(&range.body, &element, variables)?;
            variables.truncate(inner);
            if flow == Flow::Break {
                break;
            }
        }
        let flow = match is_empty {
            true => self.list(&range.otherwise, dot, variables)?,
            false => Flow::On,
        };
        // As in Go, `break` in `else` leaves this loop, `continue` goes on with the one around it.
        let flow = if flow == Flow::Break { Flow::On } else { flow };
        variables.truncate(range.variables);
        Ok(flow)
    }

    /// The value of a pipeline; sets its variables.
    pub(super) fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        dot: &Value,
        variables: &mut Variables,
    ) -> Result<Value, Failure> {
        self.line = pipeline.line;
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, variables, last)?);
        }
        self.line = pipeline.line;
        let value = last.unwrap_or(Value::Nil);
        for slot in &pipeline.variables {
            set(variables, *slot, value.clone());
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Value,
        variables: &mut Variables,
        last: Option<Value>,
    ) -> Result<Value, Failure> {
        self.line = command.line;
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Value::Nil);
        };
        if let Operand::Function(function) = first {
            return self.call(*function, rest, dot, variables, last);
        }
        self.step()?;
        if !rest.is_empty() || last.is_some() {
            return Err(format!("{} is not a function and takes no arguments", first.describe()).into());
        }
        self.operand(first, dot, variables)
    }

    pub(super) fn operand(
        &mut self,
        operand: &Operand,
        dot: &Value,
        variables: &mut Variables,
    ) -> Result<Value, Failure> {
        let (value, names) = match operand {
            Operand::Dot => return Ok(dot.clone()),
            Operand::Nil => return Ok(Value::Nil),
            Operand::Bool(value) => return Ok(Value::Bool(*value)),
            Operand::Int(value) => return Ok(Value::Int(*value)),
            Operand::Float(value) => return Ok(Value::Float(*value)),
            Operand::Text(text) => return Ok(Value::Text(text.clone())),
            Operand::Function(function) => return self.call(*function, &[], dot, variables, None),
            Operand::Field(names) => (dot.clone(), names),
            Operand::Variable(slot, names) => {
                let value = variables.get(*slot).cloned().flatten();
                (
                    value.ok_or_else(|| "a variable is used that was not set".to_owned())?,
                    names,
                )
            }
            Operand::FunctionField(function, names) => {
                (self.call(*function, &[], dot, variables, None)?, names)
            }
            Operand::Group(pipeline, names) => (
                self.nested(|renderer| renderer.pipeline(pipeline, dot, variables))?,
                names,
            ),
        };
        names
            .iter()
            .try_fold(value, |value, name| self.field(&value, name))
    }

    fn field(&mut self, value: &Value, name: &str) -> Result<Value, Failure> {
        self.step()?;
        if matches!(value, Value::Nil) {
            return Ok(Value::Nil);
        }
        let Value::Object(object) = value else {
            return Err(format!("{} has no field .{name}", value.type_name()).into());
        };
        let (secret, property) = match object.field(name, self.data.specs)? {
            Field::Object(object) => return Ok(Value::Object(object)),
            Field::Property(secret, property) => (secret, property),
        };
        let spec = secret.as_ref().and_then(|name| self.data.specs.get(name));
        let spec = spec.ok_or_else(|| "the secret is not defined".to_owned())?;
        Ok(match property {
            Property::Type => Value::Text(Text::copy_from(spec.type_name().as_bytes())),
            Property::Size => Value::Uint(spec.size),
            Property::ValidFor => Value::Uint(spec.valid_for),
            Property::Shared => Value::Bool(spec.shared),
            Property::UserDefined => Value::Bool(spec.user_defined),
        })
    }

    /// The secret of that name.
    pub(super) fn secret(&self, age: Age, name: &Text) -> Result<Value, Failure> {
        let name =
            std::str::from_utf8(name.expose()).map_err(|_| "the name of a secret is not UTF-8".to_owned())?;
        Ok(Value::Object(Object::Whole(secret(age, name, self.data.specs)?)))
    }

    fn print(&mut self, value: &Value) -> Result<(), Failure> {
        match value {
            Value::Text(text) => self.emit(text.expose()),
            Value::Nil => self.emit(NO_VALUE),
            other => {
                other.check_printable()?;
                let mut text = Buffer::new();
                format::print(&mut text, std::slice::from_ref(other));
                self.emit(text.as_slice())
            }
        }
    }

    /// Appends to the output.
    fn emit(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.work(bytes.len())?;
        if self.place == Place::Env && bytes.contains(&0) {
            return Err(
                "the value contains a NUL byte, which no environment variable can hold"
                    .to_owned()
                    .into(),
            );
        }
        self.output.write(bytes);
        if self.output.is_full() {
            Err(super::buffer::overflow().into())
        } else {
            Ok(())
        }
    }

    /// Takes a step.
    pub(super) fn step(&mut self) -> Result<(), Failure> {
        self.take_steps(1)
    }

    /// Takes a step for each KiB of `bytes`.
    pub(super) fn work(&mut self, bytes: usize) -> Result<(), Failure> {
        self.take_steps(bytes / 1024)
    }

    fn take_steps(&mut self, count: usize) -> Result<(), Failure> {
        match self.steps.checked_sub(count) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(format!("rendering takes more than {STEPS} steps").into()),
        }
    }

    fn nested<T>(&mut self, render: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.depth >= DEPTH {
            return Err(
                format!("templates, structures and parentheses are nested more than {DEPTH} deep").into(),
            );
        }
        self.depth += 1;
        let result = render(self);
        self.depth -= 1;
        result
    }
}

fn set(variables: &mut Variables, slot: usize, value: Value) {
    if slot >= variables.len() {
        variables.resize(slot + 1, None);
    }
    if let Some(variable) = variables.get_mut(slot) {
        *variable = Some(value);
    }
}
