//! From tokens to a tree: pipelines, commands and operands.

use std::sync::Arc;

use super::TemplateError;
use super::functions::Function;
use super::literal::{self, Number};
use super::parse::{Parser, string_of};
use super::scope::set_variables;
use super::token::Kind;
use super::tree::{Command, Operand, Pipeline};
use super::value::Text;

impl<'s> Parser<'s> {
    /// A pipeline with the variables it sets, up to and including `end`.
    pub(super) fn pipeline(&mut self, context: &str, end: Kind<'s>) -> Result<Pipeline, TemplateError> {
        self.skip_space();
        let line = self.line();
        let (names, assigns) = self.declarations(context)?;
        let mut pipeline = Pipeline {
            line,
            variables: Vec::new(),
            assigns,
            commands: Vec::new(),
        };
        loop {
            self.skip_space();
            if self.peek() == Some(end) {
                self.advance();
                break;
            }
            let command = self.command(context)?;
            pipeline.commands.push(command);
        }
        if pipeline.commands.is_empty() {
            return Err(TemplateError::at(
                line,
                format!("a value is missing in {context}"),
            ));
        }
        for command in pipeline.commands.iter().skip(1) {
            if let Some(
                first @ (Operand::Dot
                | Operand::Nil
                | Operand::Bool(_)
                | Operand::Int(_)
                | Operand::Float(_)
                | Operand::Text(_)),
            ) = command.operands.first()
            {
                let message = format!("{} cannot stand after `|`: expected a function", first.describe());
                return Err(TemplateError::at(command.line, message));
            }
        }
        // Declared last, so that the pipeline still sees an older variable of the same name.
        set_variables(&mut self.scope, &names, &mut pipeline)?;
        Ok(pipeline)
    }

    /// `$a :=`, `$a =`, and in `range` also with `$a, $b`.
    fn declarations(&mut self, context: &str) -> Result<(Vec<&'s str>, bool), TemplateError> {
        let mut names = Vec::new();
        while let Some(Kind::Variable(name)) = self.peek() {
            match self.peek_behind() {
                (Some(kind @ (Kind::Declare | Kind::Assign)), _) => {
                    self.advance();
                    self.skip_space();
                    self.advance();
                    names.push(name);
                    return Ok((names, kind == Kind::Assign));
                }
                (Some(Kind::Comma), Some(Kind::Variable(_))) if context == "range" && names.is_empty() => {
                    self.advance();
                    self.skip_space();
                    self.advance();
                    self.skip_space();
                    names.push(name);
                }
                (Some(Kind::Comma), _) if context == "range" && names.is_empty() => {
                    return Err(self.error("`range` sets variables only: expected a variable after `,`"));
                }
                (Some(Kind::Comma), _) => {
                    return Err(self.error(format!("too many variables are set in {context}")));
                }
                _ if names.is_empty() => break,
                _ => return Err(self.error("expected `:=` or `=` after the variables of `range`")),
            }
        }
        Ok((names, false))
    }

    /// Operands separated by white space, up to and including `|`, or up to the end of the pipeline.
    fn command(&mut self, context: &str) -> Result<Command, TemplateError> {
        let line = self.line();
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            let Some(operand) = self.operand()? else {
                // Nothing may follow the operands but the end of the command.
                match self.peek() {
                    Some(Kind::Close | Kind::Right | Kind::Bar) if !operands.is_empty() => {}
                    Some(other) => {
                        return Err(self.error(format!("unexpected {} in {context}", other.describe())));
                    }
                    None => return Err(self.error("an action is not closed: expected `}}`")),
                }
                if self.peek() == Some(Kind::Bar) {
                    self.advance();
                }
                break;
            };
            operands.push(operand);
            match self.peek() {
                Some(Kind::Space) => continue,
                Some(Kind::Close | Kind::Right) => {}
                Some(Kind::Bar) => {
                    self.advance();
                }
                Some(other) => {
                    let message = format!("unexpected {} right after an operand", other.describe());
                    return Err(self.error(message));
                }
                None => return Err(self.error("an action is not closed: expected `}}`")),
            }
            break;
        }
        Ok(Command { line, operands })
    }

    /// An operand, if there is one.
    fn operand(&mut self) -> Result<Option<Operand>, TemplateError> {
        let Some(kind) = self.peek() else { return Ok(None) };
        let line = self.line();
        let wrong = |message| TemplateError::at(line, message);
        let number = |number: Number| match number {
            Number::Int(value) => Operand::Int(value),
            Number::Float(value) => Operand::Float(value),
        };
        let term = match kind {
            Kind::Dot => Operand::Dot,
            Kind::Nil => Operand::Nil,
            Kind::Bool(value) => Operand::Bool(value),
            Kind::Number(text) => number(literal::number(text).map_err(wrong)?),
            Kind::Character(text) => number(literal::character(text).map_err(wrong)?),
            Kind::Quoted(_) | Kind::Raw(_) => Operand::Text(Text::copy_from(&string_of(kind, line)?)),
            Kind::Word(name) => Operand::Function(Function::named(name, self.place).map_err(wrong)?),
            Kind::Variable(name) => {
                let slot = self.scope.find(name);
                let slot = slot.ok_or_else(|| wrong(format!("variable {name} is not declared here")))?;
                Operand::Variable(slot, Vec::new())
            }
            Kind::Field(_) => Operand::Field(Vec::new()),
            Kind::Left => {
                self.advance();
                let inner = self.nested(|parser| parser.pipeline("parentheses", Kind::Right))?;
                Operand::Group(Box::new(inner), Vec::new())
            }
            _ => return Ok(None),
        };
        if !matches!(term, Operand::Field(_) | Operand::Group(_, _)) {
            self.advance();
        }
        let mut fields: Vec<Arc<str>> = Vec::new();
        while let Some(Kind::Field(name)) = self.peek() {
            self.advance();
            fields.push(Arc::from(name));
        }
        Ok(Some(match term {
            term if fields.is_empty() => term,
            Operand::Field(_) => Operand::Field(fields),
            Operand::Variable(slot, _) => Operand::Variable(slot, fields),
            Operand::Group(inner, _) => Operand::Group(inner, fields),
            Operand::Function(function) => Operand::FunctionField(function, fields),
            other => return Err(wrong(format!("{} has no fields", other.describe()))),
        }))
    }
}
