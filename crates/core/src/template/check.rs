//! The check before anything is rendered: every branch is followed with all forms its values can have.
//!
//! An operation is refused when it must fail whatever the values are; printing a secret, also when it may only
//! happen. What depends on a computed name is decided when the template is rendered. Templates are checked for
//! each form of dot they are called with; those never called are only parsed. The work is bounded.

use std::collections::BTreeSet;

use super::object::{Age, Object, Owner, Specs};
use super::shape::{Messages, Shape, Shapes, Variables, collect, only};
use super::tree::{Branching, List, Node, Pipeline, Range, TemplateName, Tree};
use super::{Place, References, TemplateError};
use crate::manifest::Name;

/// Steps of the check; a template of ordinary shape needs a few for each of its nodes.
const WORK: usize = 2_000_000;

/// What a checked template needs, and what its author should know.
pub(super) struct Findings {
    pub(super) references: References,
    pub(super) strings: BTreeSet<Name>,
    pub(super) warnings: Vec<TemplateError>,
}

/// Checks all that can be reached from the root of the tree.
pub(super) fn check(tree: &Tree, place: Place, specs: &Specs) -> Result<Findings, Vec<TemplateError>> {
    let mut checker = Checker {
        tree,
        place,
        specs,
        references: References::default(),
        strings: BTreeSet::new(),
        errors: Messages::default(),
        warnings: Messages::default(),
        pending: Vec::new(),
        seen: BTreeSet::new(),
        work: WORK,
    };
    checker.template(&tree.root, &only(Shape::Object(Object::Root)));
    while let Some((name, dot)) = checker.pending.pop() {
        if let Some(list) = tree.definitions.get(&name) {
            checker.template(list, &dot);
        }
    }
    if checker.work == 0 {
        checker
            .errors
            .add(1, "the template is too complex to be checked".into());
    }
    if checker.errors.is_empty() {
        Ok(Findings {
            references: checker.references,
            strings: checker.strings,
            warnings: checker.warnings.into_vec(),
        })
    } else {
        Err(checker.errors.into_vec())
    }
}

pub(super) struct Checker<'a> {
    tree: &'a Tree,
    place: Place,
    pub(super) specs: &'a Specs,
    references: References,
    strings: BTreeSet<Name>,
    errors: Messages,
    warnings: Messages,
    /// Templates still to be checked, with their dot.
    pending: Vec<(TemplateName, Shapes)>,
    seen: BTreeSet<(TemplateName, Shapes)>,
    work: usize,
}

/// The ways out of a loop other than its end.
#[derive(Default)]
struct Exits {
    breaks: Option<Variables>,
    continues: Option<Variables>,
}

impl Checker<'_> {
    fn template(&mut self, list: &List, dot: &Shapes) {
        let mut variables = Variables::new(dot.clone());
        self.list(list, dot, &mut variables, &mut Exits::default());
    }

    fn list(&mut self, list: &List, dot: &Shapes, variables: &mut Variables, exits: &mut Exits) {
        for node in list {
            if !self.spend(1) {
                return;
            }
            match node {
                Node::Text(text) => {
                    if self.place == Place::Env && text.contains(&0) {
                        self.error(
                            1,
                            "the text contains a NUL byte, which no environment variable can hold",
                        );
                    }
                }
                Node::Action(pipeline) => {
                    let shapes = self.pipeline(pipeline, dot, variables);
                    if pipeline.variables.is_empty() {
                        self.printable(pipeline.line, &shapes);
                    }
                }
                Node::Branching(branching) => self.branching(branching, dot, variables, exits),
                Node::Range(range) => self.range(range, dot, variables, exits),
                Node::Call(call) => {
                    let argument = match &call.argument {
                        Some(pipeline) => self.pipeline(pipeline, dot, variables),
                        None => only(Shape::Nil),
                    };
                    if !self.tree.definitions.contains_key(&call.name) {
                        let name = String::from_utf8_lossy(&call.name);
                        self.error(call.line, format!("template \"{name}\" is not defined"));
                    } else if self.seen.insert((call.name.clone(), argument.clone())) {
                        self.pending.push((call.name.clone(), argument));
                    }
                }
                Node::Break => self.leave(&mut exits.breaks, variables),
                Node::Continue => self.leave(&mut exits.continues, variables),
            }
        }
    }

    fn branching(
        &mut self,
        branching: &Branching,
        dot: &Shapes,
        variables: &mut Variables,
        exits: &mut Exits,
    ) {
        let mut after: Option<Variables> = None;
        for (pipeline, body) in &branching.branches {
            let shapes = self.pipeline(pipeline, dot, variables);
            self.truth(&shapes);
            let mut inside = variables.clone();
            if !self.spend(inside.len()) {
                return;
            }
            let inner = if branching.sets_dot {
                collect(shapes.iter().filter(|shape| **shape != Shape::Nil).cloned())
            } else {
                dot.clone()
            };
            self.list(body, &inner, &mut inside, exits);
            self.leave(&mut after, &inside);
        }
        self.list(&branching.otherwise, dot, variables, exits);
        if let Some(after) = after {
            variables.join(&after);
        }
        variables.truncate(branching.variables);
    }

    fn range(&mut self, range: &Range, dot: &Shapes, variables: &mut Variables, outer: &mut Exits) {
        let pipeline = &range.pipeline;
        let shapes = self.pipeline(pipeline, dot, variables);
        let elements = self.elements(pipeline, &shapes);
        let keys = only(Shape::Text(None));
        let mut entry = variables.clone();
        let mut exits = Exits::default();
        let mut after: Option<Variables> = None;
        loop {
            // Each round costs at least as much as its copies of the variables.
            if !self.spend(1 + entry.len()) {
                return;
            }
            let mut inside = entry.clone();
            match *pipeline.variables.as_slice() {
                [element] => inside.set(element, elements.clone()),
                [key, element] => {
                    inside.set(key, keys.clone());
                    inside.set(element, elements.clone());
                }
                _ => {}
            }
            self.list(&range.body, &elements, &mut inside, &mut exits);
            if let Some(continues) = &exits.continues {
                inside.join(continues);
            }
            let mut next = entry.clone();
            next.join(&inside);
            self.leave(&mut after, &inside);
            if next == entry {
                break;
            }
            entry = next;
        }
        if let Some(breaks) = &exits.breaks {
            self.leave(&mut after, breaks);
        }
        // As in Go, `break` in `else` leaves this loop, `continue` goes on with the one around it.
        let mut exits = Exits {
            breaks: None,
            continues: outer.continues.take(),
        };
        self.list(&range.otherwise, dot, variables, &mut exits);
        outer.continues = exits.continues;
        if let Some(breaks) = &exits.breaks {
            variables.join(breaks);
        }
        let is_secrets = |shape: &Shape| matches!(shape, Shape::Object(Object::Secrets(_)));
        match after {
            // There is always a secret to go through, so `else` is never rendered.
            Some(after) if shapes.iter().all(is_secrets) && !self.specs.is_empty() => *variables = after,
            Some(after) => variables.join(&after),
            None => {}
        }
        variables.truncate(range.variables);
    }

    /// What dot is in the body of `range`.
    fn elements(&mut self, pipeline: &Pipeline, shapes: &Shapes) -> Shapes {
        let pairs = pipeline.variables.len() > 1;
        self.each(pipeline.line, shapes, |shape| match shape {
            Shape::Nil => Ok(Shape::Nil),
            Shape::Object(Object::Secrets(age)) => {
                Ok(Shape::Object(Object::Whole(Owner::Secret(*age, None))))
            }
            Shape::Int | Shape::Uint | Shape::Byte if !pairs => Ok(shape.clone()),
            Shape::Int | Shape::Uint | Shape::Byte => {
                Err("`range` over a number sets one variable only".into())
            }
            other => Err(format!(
                "`range` cannot go through {}: expected `.Secrets`, `.Previous.Secrets` or a number",
                other.type_name()
            )),
        })
    }

    /// What an operation makes of each form; an error if it fails for all of them.
    pub(super) fn each(
        &mut self,
        line: u32,
        shapes: &Shapes,
        operation: impl Fn(&Shape) -> Result<Shape, String>,
    ) -> Shapes {
        let (mut results, mut first_error) = (Vec::new(), None);
        for shape in shapes.iter() {
            match operation(shape) {
                Ok(result) => results.push(result),
                Err(message) => first_error = first_error.or(Some(message)),
            }
        }
        match first_error {
            Some(message) if results.is_empty() => self.error(line, message),
            _ => {}
        }
        collect(results)
    }

    /// Reports every form that must not be printed.
    pub(super) fn printable(&mut self, line: u32, shapes: &Shapes) {
        for shape in shapes.iter() {
            if let Shape::Object(object) = shape {
                self.error(line, object.unprintable());
            }
        }
    }

    /// Notes what must be known to tell whether a value is true: of a user-defined secret, whether it is there.
    pub(super) fn truth(&mut self, shapes: &Shapes) {
        for shape in shapes.iter().filter(|shape| !shape.is_always_true()) {
            if let Shape::Object(
                Object::Part(Owner::Secret(age, name), _) | Object::Piece(Owner::Secret(age, name), _),
            ) = shape
            {
                let specs = self.specs;
                let user_defined = specs
                    .iter()
                    .filter(|(_, spec)| spec.user_defined)
                    .map(|(name, _)| name);
                match name {
                    Some(name) if specs.get(name).is_some_and(|spec| spec.user_defined) => {
                        self.reference_names(*age, [name.clone()]);
                    }
                    Some(_) => {}
                    None if self.spend(specs.len()) => self.reference_names(*age, user_defined.cloned()),
                    None => {}
                }
            }
        }
    }

    /// Notes that the value behind an owner is needed.
    pub(super) fn reference(&mut self, owner: &Owner) {
        match owner {
            Owner::Secret(age, Some(name)) => self.reference_names(*age, [name.clone()]),
            Owner::Secret(age, None) if self.spend(self.specs.len()) => {
                self.reference_names(*age, self.specs.keys().cloned());
            }
            Owner::SealKey => self.references.seal_key = true,
            _ => {}
        }
    }

    /// Notes that `string` is applied to a secret.
    pub(super) fn note_string(&mut self, owner: &Owner) {
        if let Owner::Secret(Age::Current, Some(name)) = owner {
            self.strings.insert(name.clone());
        }
    }

    fn reference_names(&mut self, age: Age, names: impl IntoIterator<Item = Name>) {
        match age {
            Age::Current => self.references.secrets.extend(names),
            Age::Previous => self.references.previous.extend(names),
        }
    }

    pub(super) fn error(&mut self, line: u32, message: impl Into<String>) {
        self.errors.add(line, message.into());
    }

    pub(super) fn warning(&mut self, line: u32, message: impl Into<String>) {
        self.warnings.add(line, message.into());
    }

    /// Takes from the work that is left; tells whether there is any.
    pub(super) fn spend(&mut self, work: usize) -> bool {
        self.work = self.work.saturating_sub(work);
        self.work > 0
    }

    /// Joins the variables of one way into those of others to the same place.
    fn leave(&mut self, others: &mut Option<Variables>, variables: &Variables) {
        if !self.spend(variables.len()) {
            return;
        }
        match others {
            Some(others) => {
                let mut joined = variables.clone();
                joined.join(others);
                *others = joined;
            }
            None => *others = Some(variables.clone()),
        }
    }
}
