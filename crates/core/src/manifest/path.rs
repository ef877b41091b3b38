//! Paths of values, as errors show them.

use std::fmt;

/// Where a value stands. Made on the stack; becomes text only when something is said about the value.
#[derive(Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Name(&'p str),
    Item(usize),
}

impl Path<'_> {
    /// The document itself.
    pub const ROOT: Self = Self {
        parent: None,
        step: Step::Root,
    };

    /// A field or entry of this object.
    pub fn name<'s>(&'s self, name: &'s str) -> Path<'s> {
        Path {
            parent: Some(self),
            step: Step::Name(name),
        }
    }

    /// An item of this list.
    pub fn item(&self, index: usize) -> Path<'_> {
        Path {
            parent: Some(self),
            step: Step::Item(index),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return f.write_str("manifest");
        };
        let below_root = matches!(parent.step, Step::Root);
        if !below_root {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => f.write_str("manifest"),
            Step::Item(index) => write!(f, "[{index}]"),
            Step::Name(name) => {
                if !below_root {
                    f.write_str(".")?;
                }
                write_name(f, name)
            }
        }
    }
}

/// How much of a name errors show.
const SHOWN: usize = 253;

/// Writes a name of the author's so that it cannot break the line, nor fill the screen.
fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    for (index, character) in name.chars().enumerate() {
        if index == SHOWN {
            return f.write_str("…");
        }
        if character.is_control() {
            write!(f, "{}", character.escape_default())?;
        } else {
            fmt::Write::write_char(f, character)?;
        }
    }
    Ok(())
}

/// A name or word of the author's, quoted for an error message.
pub(super) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        write_name(f, self.0)?;
        f.write_str("`")
    }
}
