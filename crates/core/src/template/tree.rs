//! The parsed template.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::functions::Function;
use super::value::Text;

/// The name of a `define`d template: any bytes.
pub(super) type TemplateName = Arc<[u8]>;

/// A whole parsed source.
pub(super) struct Tree {
    /// What is rendered.
    pub(super) root: List,
    /// `define` and `block`.
    pub(super) definitions: BTreeMap<TemplateName, List>,
}

/// Nodes in order.
pub(super) type List = Vec<Node>;

/// A piece of a template.
pub(super) enum Node {
    /// Text between actions.
    Text(Box<[u8]>),
    /// `{{ pipeline }}`
    Action(Pipeline),
    /// `if` or `with`, with all their `else if` or `else with`.
    Branching(Branching),
    /// `range`
    Range(Box<Range>),
    /// `template`, and the call that is part of `block`.
    Call(Call),
    /// `break`
    Break,
    /// `continue`
    Continue,
}

/// `if` or `with`.
pub(super) struct Branching {
    /// `with`: dot becomes the value of the pipeline.
    pub(super) sets_dot: bool,
    /// Conditions with what they guard, tried in order.
    pub(super) branches: Vec<(Pipeline, List)>,
    /// `else`
    pub(super) otherwise: List,
    /// How many variables exist outside.
    pub(super) variables: usize,
}

/// `range`
pub(super) struct Range {
    /// What is gone through.
    pub(super) pipeline: Pipeline,
    /// Rendered for each element.
    pub(super) body: List,
    /// Rendered when there is none.
    pub(super) otherwise: List,
    /// How many variables exist outside.
    pub(super) variables: usize,
}

/// `template`
pub(super) struct Call {
    /// From 1.
    pub(super) line: u32,
    /// Which.
    pub(super) name: TemplateName,
    /// What its dot is; nothing when absent.
    pub(super) argument: Option<Pipeline>,
}

/// Commands, each given the result of the one before as its last argument.
pub(super) struct Pipeline {
    /// From 1.
    pub(super) line: u32,
    /// Slots of the variables that take the result; two only for `range`.
    pub(super) variables: Vec<usize>,
    /// `=` instead of `:=`.
    pub(super) assigns: bool,
    /// At least one.
    pub(super) commands: Vec<Command>,
}

/// An operand, or a function with its arguments.
pub(super) struct Command {
    /// From 1.
    pub(super) line: u32,
    /// At least one.
    pub(super) operands: Vec<Operand>,
}

/// A value in the source.
pub(super) enum Operand {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// An integer or a character.
    Int(i64),
    /// A number with point or exponent.
    Float(f64),
    /// A string.
    Text(Text),
    /// `.a.b`
    Field(Vec<Arc<str>>),
    /// `$v` or `$v.a.b`; slot 0 is `$`.
    Variable(usize, Vec<Arc<str>>),
    /// The name of a function.
    Function(Function),
    /// `(pipeline)` or `(pipeline).a.b`
    Group(Box<Pipeline>, Vec<Arc<str>>),
    /// `function.a.b`
    FunctionField(Function, Vec<Arc<str>>),
}

impl Operand {
    /// How an error names the operand.
    pub(super) fn describe(&self) -> String {
        match self {
            Operand::Dot => "`.`".into(),
            Operand::Nil => "`nil`".into(),
            Operand::Bool(value) => format!("`{value}`"),
            Operand::Int(value) => format!("`{value}`"),
            Operand::Float(value) => format!("`{value}`"),
            Operand::Text(_) => "a string".into(),
            Operand::Field(names) => format!("`.{}`", names.join(".")),
            Operand::Variable(_, _) => "a variable".into(),
            Operand::Function(function) | Operand::FunctionField(function, _) => {
                format!("`{}`", function.name())
            }
            Operand::Group(_, _) => "a pipeline in parentheses".into(),
        }
    }
}
