//! The check of pipelines and operands: which forms their values can have.

use std::sync::Arc;

use super::check::Checker;
use super::object::{Field, Object, Property};
use super::shape::{Shape, Shapes, Variables, only};
use super::tree::{Command, Operand, Pipeline};

impl Checker<'_> {
    /// The value of a pipeline; sets its variables.
    pub(super) fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        dot: &Shapes,
        variables: &mut Variables,
    ) -> Shapes {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, variables, last));
        }
        let shapes = last.unwrap_or_default();
        for slot in &pipeline.variables {
            variables.set(*slot, shapes.clone());
        }
        shapes
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Shapes,
        variables: &mut Variables,
        last: Option<Shapes>,
    ) -> Shapes {
        let Some((first, rest)) = command.operands.split_first() else {
            return Shapes::default();
        };
        if !self.spend(command.operands.len()) {
            return Shapes::default();
        }
        if let Operand::Function(function) = first {
            let mut arguments: Vec<Shapes> = rest
                .iter()
                .map(|operand| self.operand(command.line, operand, dot, variables))
                .collect();
            arguments.extend(last);
            return self.call(command.line, *function, &arguments);
        }
        if matches!(first, Operand::Nil) {
            self.error(command.line, "`nil` alone is no value");
            return Shapes::default();
        }
        if !rest.is_empty() || last.is_some() {
            self.error(
                command.line,
                format!("{} is not a function and takes no arguments", first.describe()),
            );
        }
        self.operand(command.line, first, dot, variables)
    }

    fn operand(&mut self, line: u32, operand: &Operand, dot: &Shapes, variables: &mut Variables) -> Shapes {
        match operand {
            Operand::Dot => dot.clone(),
            Operand::Nil => only(Shape::Nil),
            Operand::Bool(_) => only(Shape::Bool),
            Operand::Int(_) => only(Shape::Int),
            Operand::Float(_) => only(Shape::Float),
            Operand::Text(text) => only(Shape::Text(
                std::str::from_utf8(text.expose()).ok().map(Arc::from),
            )),
            Operand::Field(names) => self.fields(line, dot.clone(), names),
            Operand::Variable(slot, names) => self.fields(line, variables.get(*slot), names),
            Operand::Function(function) => self.call(line, *function, &[]),
            Operand::FunctionField(function, names) => {
                let shapes = self.call(line, *function, &[]);
                self.fields(line, shapes, names)
            }
            Operand::Group(pipeline, names) => {
                let shapes = self.pipeline(pipeline, dot, variables);
                self.fields(line, shapes, names)
            }
        }
    }

    fn fields(&mut self, line: u32, mut shapes: Shapes, names: &[Arc<str>]) -> Shapes {
        for name in names {
            if !self.spend(1) {
                return Shapes::default();
            }
            if **name == *"Marblerun" && shapes.contains(&Shape::Object(Object::Root)) {
                self.warning(line, "`.Marblerun` is an old spelling of `.MarbleRun`");
            }
            let specs = self.specs;
            shapes = self.each(line, &shapes, |shape| match shape {
                Shape::Object(object) => match object.field(name, specs)? {
                    Field::Object(object) => Ok(Shape::Object(object)),
                    Field::Property(_, Property::Type) => Ok(Shape::Text(None)),
                    Field::Property(_, Property::Size | Property::ValidFor) => Ok(Shape::Uint),
                    Field::Property(_, Property::Shared | Property::UserDefined) => Ok(Shape::Bool),
                },
                Shape::Nil => Ok(Shape::Nil),
                other => Err(format!("{} has no field .{name}", other.type_name())),
            });
        }
        shapes
    }
}
