//! The variables of a template while it is parsed.

use std::collections::HashMap;

use super::TemplateError;
use super::tree::Pipeline;

/// The variables that can be seen, each with its slot: how many were visible when it was declared.
pub(super) struct Scope<'s> {
    names: Vec<&'s str>,
    slots: HashMap<&'s str, Vec<usize>>,
}

impl<'s> Scope<'s> {
    /// Only `$`, in slot 0.
    pub(super) fn new() -> Self {
        Self {
            names: vec!["$"],
            slots: HashMap::from([("$", vec![0])]),
        }
    }

    /// How many variables are visible.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The slot of the innermost variable of that name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.slots.get(name).and_then(|slots| slots.last()).copied()
    }

    /// Makes a variable visible.
    pub(super) fn declare(&mut self, name: &'s str) -> usize {
        let slot = self.names.len();
        self.names.push(name);
        self.slots.entry(name).or_default().push(slot);
        slot
    }

    /// Forgets all but the first `length` variables.
    pub(super) fn truncate(&mut self, length: usize) {
        for name in self.names.drain(length.min(self.names.len())..) {
            if let Some(slots) = self.slots.get_mut(name) {
                slots.pop();
            }
        }
    }
}

/// Declares or finds the variables a pipeline sets.
pub(super) fn set_variables<'s>(
    scope: &mut Scope<'s>,
    names: &[&'s str],
    pipeline: &mut Pipeline,
) -> Result<(), TemplateError> {
    for name in names {
        let slot = if pipeline.assigns {
            scope.find(name).ok_or_else(|| {
                TemplateError::at(
                    pipeline.line,
                    format!("variable {name} does not exist; `:=` declares it"),
                )
            })?
        } else {
            scope.declare(name)
        };
        pipeline.variables.push(slot);
    }
    Ok(())
}
