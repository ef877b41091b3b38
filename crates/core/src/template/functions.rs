//! The functions a template can call: their names, where they exist, how many arguments they take.

use super::Place;

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Length,
    Index,
    Slice,
    Print,
    Printf,
    Println,
    Html,
    Javascript,
    UrlQuery,
    Call,
    Hex,
    Base64,
    Pem,
    Raw,
    String,
}

/// Name, fewest and most arguments.
const FUNCTIONS: [(Function, &str, usize, usize); 24] = [
    (Function::And, "and", 1, usize::MAX),
    (Function::Or, "or", 1, usize::MAX),
    (Function::Not, "not", 1, 1),
    (Function::Equal, "eq", 2, usize::MAX),
    (Function::NotEqual, "ne", 2, 2),
    (Function::Less, "lt", 2, 2),
    (Function::LessOrEqual, "le", 2, 2),
    (Function::Greater, "gt", 2, 2),
    (Function::GreaterOrEqual, "ge", 2, 2),
    (Function::Length, "len", 1, 1),
    (Function::Index, "index", 1, usize::MAX),
    (Function::Slice, "slice", 1, usize::MAX),
    (Function::Print, "print", 0, usize::MAX),
    (Function::Printf, "printf", 1, usize::MAX),
    (Function::Println, "println", 0, usize::MAX),
    (Function::Html, "html", 0, usize::MAX),
    (Function::Javascript, "js", 0, usize::MAX),
    (Function::UrlQuery, "urlquery", 0, usize::MAX),
    (Function::Call, "call", 1, usize::MAX),
    (Function::Hex, "hex", 1, 1),
    (Function::Base64, "base64", 1, 1),
    (Function::Pem, "pem", 1, 1),
    (Function::Raw, "raw", 1, 1),
    (Function::String, "string", 1, 1),
];

impl Function {
    /// The function of that name, if it exists in that place.
    pub(super) fn named(name: &str, place: Place) -> Result<Self, String> {
        let encodings = match place {
            Place::File => "hex, base64, pem, raw",
            Place::Env => "hex, base64, pem, string",
        };
        match (
            FUNCTIONS
                .iter()
                .find(|(_, known, _, _)| *known == name)
                .map(|(function, ..)| *function),
            place,
        ) {
            (Some(Function::Raw), Place::Env) => Err(format!(
                "`raw` is for files only; an environment variable can use {encodings}"
            )),
            (Some(Function::String), Place::File) => Err(format!(
                "`string` is for environment variables only; a file can use {encodings}"
            )),
            (Some(function), _) => Ok(function),
            (None, _) => Err(format!(
                "unknown function `{name}`; secrets are encoded with {encodings}, and there are the functions of \
                 Go's text/template"
            )),
        }
    }

    /// The name in templates.
    pub(super) fn name(self) -> &'static str {
        self.entry().1
    }

    /// Checks the number of arguments.
    pub(super) fn check_count(self, count: usize) -> Result<(), String> {
        let (_, name, fewest, most) = self.entry();
        if (fewest..=most).contains(&count) {
            return Ok(());
        }
        let expected = match (fewest, most) {
            (fewest, usize::MAX) => format!("at least {fewest}"),
            (fewest, most) if fewest == most => fewest.to_string(),
            (fewest, most) => format!("{fewest} to {most}"),
        };
        Err(format!("`{name}` takes {expected} argument(s), not {count}"))
    }

    fn entry(self) -> (Function, &'static str, usize, usize) {
        let found = FUNCTIONS.iter().find(|(function, ..)| *function == self);
        found.copied().unwrap_or((self, "", 0, usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_is_in_the_table_once() {
        for (index, (function, name, _, _)) in FUNCTIONS.iter().enumerate() {
            assert_eq!(
                FUNCTIONS.iter().position(|(_, other, _, _)| other == name),
                Some(index)
            );
            assert_eq!(function.name(), *name);
        }
    }

    #[test]
    fn raw_and_string_have_their_places() {
        assert!(Function::named("raw", Place::File).is_ok());
        assert!(Function::named("string", Place::Env).is_ok());
        assert!(Function::named("raw", Place::Env).is_err_and(|message| message.contains("files only")));
        assert!(Function::named("string", Place::File).is_err_and(|message| message.contains("environment")));
    }
}
