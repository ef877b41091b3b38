//! Calls of functions while rendering: logic, comparison, strings. Encodings are in [`super::encode`].

use super::buffer::Buffer;
use super::functions::Function;
use super::object::{Object, Part};
use super::render::{Failure, Renderer};
use super::tree::Operand;
use super::value::{NO_VALUE, Text, Value};
use super::{escape, format};

impl Renderer<'_> {
    /// Calls a function; `last` is the result of the command before it in the pipeline.
    pub(super) fn call(
        &mut self,
        function: Function,
        operands: &[Operand],
        dot: &Value,
        variables: &mut Vec<Option<Value>>,
        last: Option<Value>,
    ) -> Result<Value, Failure> {
        self.step()?;
        function.check_count(operands.len() + usize::from(last.is_some()))?;
        if let Function::And | Function::Or = function {
            return self.choose(function, operands, dot, variables, last);
        }
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(operand, dot, variables)?);
        }
        arguments.extend(last);
        self.work(arguments.iter().map(Value::weight).fold(0, usize::saturating_add))?;
        let result = self.apply(function, &arguments)?;
        self.work(result.weight())?;
        Ok(result)
    }

    /// `and`, `or`: evaluates only as many arguments as it needs.
    fn choose(
        &mut self,
        function: Function,
        operands: &[Operand],
        dot: &Value,
        variables: &mut Vec<Option<Value>>,
        last: Option<Value>,
    ) -> Result<Value, Failure> {
        let mut result = Value::Nil;
        for operand in operands {
            result = self.operand(operand, dot, variables)?;
            if self.is_true(&result) == (function == Function::Or) {
                return Ok(result);
            }
        }
        Ok(last.unwrap_or(result))
    }

    fn apply(&self, function: Function, arguments: &[Value]) -> Result<Value, Failure> {
        let Some((first, rest)) = arguments.split_first() else {
            // Only functions that print take no argument at all.
            return Ok(Value::Text(self.printed(function, arguments)?));
        };
        let second = rest.first().unwrap_or(&Value::Nil);
        Ok(match function {
            // `and` and `or` never come here.
            Function::And | Function::Or | Function::Not => Value::Bool(!self.is_true(first)),
            Function::Equal => {
                let mut found = false;
                for other in rest {
                    found = self.are_equal(first, other)?;
                    if found {
                        break;
                    }
                }
                Value::Bool(found)
            }
            Function::NotEqual => Value::Bool(!self.are_equal(first, second)?),
            Function::Less => Value::Bool(first.is_less(second)?),
            Function::LessOrEqual => Value::Bool(first.is_less(second)? || first.equals(second)?),
            Function::Greater => Value::Bool(!(first.is_less(second)? || first.equals(second)?)),
            Function::GreaterOrEqual => Value::Bool(!first.is_less(second)?),
            Function::Length => self.length(first)?,
            Function::Index => self.index(first, rest)?,
            Function::Slice => self.slice(first, rest)?,
            Function::Print
            | Function::Printf
            | Function::Println
            | Function::Html
            | Function::Javascript
            | Function::UrlQuery => Value::Text(self.printed(function, arguments)?),
            Function::Call => {
                return Err("`call` has nothing to call: no data of a template is a function"
                    .to_owned()
                    .into());
            }
            Function::Hex | Function::Base64 | Function::Pem | Function::Raw | Function::String => {
                Value::Text(self.encode(function, first)?)
            }
        })
    }

    fn printed(&self, function: Function, arguments: &[Value]) -> Result<Text, Failure> {
        for argument in arguments {
            argument.check_printable()?;
        }
        let mut buffer = Buffer::new();
        match function {
            Function::Println => format::println(&mut buffer, arguments),
            Function::Printf => match arguments.split_first() {
                Some((Value::Text(template), values)) => {
                    format::printf(&mut buffer, template.expose(), values);
                }
                _ => return Err("`printf` takes a format, a string, first".to_owned().into()),
            },
            Function::Print => format::print(&mut buffer, arguments),
            _ => {
                // What is escaped shows nil as an action does, not as `print` does.
                let shown = |value: &Value| match value {
                    Value::Nil => Value::Text(Text::copy_from(NO_VALUE)),
                    other => other.clone(),
                };
                format::print(&mut buffer, &arguments.iter().map(shown).collect::<Vec<_>>());
            }
        }
        let plain = buffer.into_text()?;
        let escape = match function {
            Function::Html => escape::html,
            Function::Javascript => escape::javascript,
            Function::UrlQuery => escape::url_query,
            _ => return Ok(plain),
        };
        let mut buffer = Buffer::new();
        escape(&mut buffer, plain.expose());
        Ok(buffer.into_text()?)
    }

    /// As `eq` compares; a key part without a value equals nil.
    fn are_equal(&self, left: &Value, right: &Value) -> Result<bool, Failure> {
        match (left, right) {
            (Value::Nil, Value::Object(Object::Part(_, Part::Public | Part::Private))) => {
                Ok(!self.is_true(right))
            }
            (Value::Object(Object::Part(_, Part::Public | Part::Private)), Value::Nil) => {
                Ok(!self.is_true(left))
            }
            _ => Ok(left.equals(right)?),
        }
    }

    fn length(&self, value: &Value) -> Result<Value, Failure> {
        let length = match value {
            Value::Text(text) => text.len(),
            Value::Object(Object::Secrets(_)) => self.data.specs.len(),
            other => {
                other.check_printable()?;
                return Err(
                    format!("`len` takes a string or `.Secrets`, not a {}", other.type_name()).into(),
                );
            }
        };
        Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
    }

    fn index(&self, base: &Value, indexes: &[Value]) -> Result<Value, Failure> {
        let mut value = base.clone();
        if matches!(value, Value::Nil) {
            return Err("`index` of nil".to_owned().into());
        }
        for index in indexes {
            value = match (&value, index) {
                (Value::Object(Object::Secrets(age)), Value::Text(name)) => self.secret(*age, name)?,
                (Value::Text(text), index) => {
                    let position = position(index)?;
                    let byte = usize::try_from(position)
                        .ok()
                        .and_then(|position| text.expose().get(position));
                    Value::Byte(*byte.ok_or_else(|| format!("index {position} is outside of the string"))?)
                }
                (Value::Object(object), _) => {
                    return Err(format!("`index` cannot go into {}", object.describe()).into());
                }
                (other, _) => return Err(format!("`index` cannot go into a {}", other.type_name()).into()),
            };
        }
        Ok(value)
    }

    fn slice(&self, base: &Value, indexes: &[Value]) -> Result<Value, Failure> {
        let (length, most) = match base {
            Value::Text(text) => (text.len(), 2),
            Value::Object(Object::Part(owner, part @ (Part::Public | Part::Private))) => {
                (self.bytes(owner, *part)?.len(), 3)
            }
            Value::Piece { start, end, .. } => (end - start, 3),
            other => {
                return Err(format!(
                    "`slice` takes a string or the bytes of a key, not a {}",
                    other.type_name()
                )
                .into());
            }
        };
        if indexes.len() > most {
            return Err(format!("`slice` takes {most} indexes here at most").into());
        }
        let mut bounds = [0, length, length];
        for (bound, index) in bounds.iter_mut().zip(indexes) {
            let position = position(index)?;
            *bound = usize::try_from(position)
                .ok()
                .filter(|position| *position <= length)
                .ok_or_else(|| format!("index {position} is outside of what is sliced"))?;
        }
        let [from, to, capacity] = bounds;
        if from > to || to > capacity {
            return Err("the indexes of `slice` do not grow".to_owned().into());
        }
        Ok(match base {
            Value::Object(Object::Part(owner, part)) => Value::Piece {
                owner: owner.clone(),
                part: *part,
                start: from,
                end: to,
            },
            Value::Piece {
                owner, part, start, ..
            } => Value::Piece {
                owner: owner.clone(),
                part: *part,
                start: start + from,
                end: start + to,
            },
            Value::Text(text) => {
                Value::Text(Text::copy_from(text.expose().get(from..to).unwrap_or_default()))
            }
            other => other.clone(),
        })
    }

    /// The truth of a value, as `if` sees it: false are nil, zero, and what is empty.
    pub(super) fn is_true(&self, value: &Value) -> bool {
        match value {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Uint(value) => *value != 0,
            Value::Byte(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Object(Object::Secrets(_)) => !self.data.specs.is_empty(),
            Value::Object(Object::Part(owner, part @ (Part::Public | Part::Private))) => {
                self.is_present(owner, *part)
            }
            Value::Object(_) => true,
            Value::Piece { start, end, .. } => start < end,
        }
    }
}

fn position(index: &Value) -> Result<i128, Failure> {
    index
        .index()
        .ok_or_else(|| format!("an index is an integer, not a {}", index.type_name()).into())
}
