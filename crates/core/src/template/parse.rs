//! From tokens to a tree: text and control structures. Pipelines are in [`super::parse_pipeline`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::lexer::lex;
use super::scope::Scope;
use super::token::{Keyword, Kind, Token};
use super::tree::{Branching, Call, List, Node, Range, TemplateName, Tree};
use super::{Place, TemplateError};

/// Control structures and parentheses inside each other.
pub(super) const NESTING: usize = 100;

/// Parses a source. Linear in its length; nesting is bounded by [`NESTING`].
pub(super) fn parse(source: &[u8], place: Place) -> Result<Tree, TemplateError> {
    let tokens = lex(source)?;
    let mut parser = Parser {
        tokens,
        next: 0,
        place,
        scope: Scope::new(),
        definitions: BTreeMap::new(),
        loops: 0,
        depth: 0,
    };
    let (root, _) = parser.list(Level::Source)?;
    Ok(Tree {
        root,
        definitions: parser.definitions,
    })
}

pub(super) struct Parser<'s> {
    tokens: Vec<Token<'s>>,
    next: usize,
    pub(super) place: Place,
    pub(super) scope: Scope<'s>,
    definitions: BTreeMap<TemplateName, List>,
    loops: usize,
    depth: usize,
}

/// Where a list of nodes stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Outside everything: ends with the source, and `define` is possible.
    Source,
    /// Inside a structure: ends with `end` or `else`.
    Structure,
}

/// What ended a list of nodes.
enum Stop {
    Source,
    End,
    /// The word only; what follows it is not consumed.
    Else,
}

impl<'s> Parser<'s> {
    fn list(&mut self, level: Level) -> Result<(List, Stop), TemplateError> {
        let mut list = List::new();
        loop {
            let Some(token) = self.advance() else {
                return match level {
                    Level::Source => Ok((list, Stop::Source)),
                    Level::Structure => Err(self.error("the template ends where `{{end}}` is expected")),
                };
            };
            if let Kind::Text(text) = token.kind {
                list.push(Node::Text(text.into()));
                continue;
            }
            // A list holds only text and actions, so this token opens an action.
            self.skip_space();
            let Some(Kind::Keyword(keyword)) = self.peek() else {
                let pipeline = self.pipeline("an action", Kind::Close)?;
                list.push(Node::Action(pipeline));
                continue;
            };
            let line = self.line();
            self.advance();
            match keyword {
                Keyword::End if level == Level::Structure => {
                    self.close("end")?;
                    return Ok((list, Stop::End));
                }
                Keyword::Else if level == Level::Structure => return Ok((list, Stop::Else)),
                Keyword::Define if level == Level::Source => self.define(line)?,
                Keyword::If => list.push(self.nested(|parser| parser.branching(Keyword::If))?),
                Keyword::With => list.push(self.nested(|parser| parser.branching(Keyword::With))?),
                Keyword::Range => list.push(self.nested(Self::range)?),
                Keyword::Template => list.push(self.template(line)?),
                Keyword::Block => list.push(self.nested(|parser| parser.block(line))?),
                Keyword::Break | Keyword::Continue if self.loops > 0 => {
                    let (word, node) = match keyword {
                        Keyword::Break => ("break", Node::Break),
                        _ => ("continue", Node::Continue),
                    };
                    self.close(word)?;
                    list.push(node);
                }
                Keyword::Break => return Err(TemplateError::at(line, "`break` outside of `range`")),
                Keyword::Continue => return Err(TemplateError::at(line, "`continue` outside of `range`")),
                Keyword::End | Keyword::Else => {
                    let word = Kind::Keyword(keyword).describe();
                    return Err(TemplateError::at(
                        line,
                        format!("{word} without the structure it belongs to"),
                    ));
                }
                Keyword::Define => {
                    return Err(TemplateError::at(
                        line,
                        "`define` is possible outside of other structures only",
                    ));
                }
            }
        }
    }

    fn branching(&mut self, word: Keyword) -> Result<Node, TemplateError> {
        let name = if word == Keyword::If { "if" } else { "with" };
        let variables = self.scope.len();
        let mut branches = Vec::new();
        let mut otherwise = List::new();
        loop {
            let pipeline = self.pipeline(name, Kind::Close)?;
            let inner = self.scope.len();
            let (body, stop) = self.list(Level::Structure)?;
            self.scope.truncate(inner);
            branches.push((pipeline, body));
            if !matches!(stop, Stop::Else) {
                break;
            }
            self.skip_space();
            if self.peek() == Some(Kind::Keyword(word)) {
                self.advance();
                continue;
            }
            otherwise = self.last_list(name)?;
            break;
        }
        self.scope.truncate(variables);
        Ok(Node::Branching(Branching {
            sets_dot: word == Keyword::With,
            branches,
            otherwise,
            variables,
        }))
    }

    fn range(&mut self) -> Result<Node, TemplateError> {
        let variables = self.scope.len();
        let pipeline = self.pipeline("range", Kind::Close)?;
        let inner = self.scope.len();
        self.loops += 1;
        let (body, stop) = self.list(Level::Structure)?;
        self.loops -= 1;
        self.scope.truncate(inner);
        let otherwise = if matches!(stop, Stop::Else) {
            self.last_list("range")?
        } else {
            List::new()
        };
        self.scope.truncate(variables);
        Ok(Node::Range(Box::new(Range {
            pipeline,
            body,
            otherwise,
            variables,
        })))
    }

    /// The list after the last `else`, from right behind that word up to and including `{{end}}`.
    fn last_list(&mut self, name: &str) -> Result<List, TemplateError> {
        self.close("else")?;
        match self.list(Level::Structure)? {
            (_, Stop::Else) => Err(self.error(format!("`{name}` has one `else` at most"))),
            (list, _) => Ok(list),
        }
    }

    fn template(&mut self, line: u32) -> Result<Node, TemplateError> {
        let name = self.template_name("template")?;
        self.skip_space();
        let argument = if self.peek() == Some(Kind::Close) {
            self.advance();
            None
        } else {
            Some(self.pipeline("template", Kind::Close)?)
        };
        Ok(Node::Call(Call { line, name, argument }))
    }

    fn define(&mut self, line: u32) -> Result<(), TemplateError> {
        let name = self.template_name("define")?;
        self.close("define")?;
        self.definition(line, name)
    }

    fn block(&mut self, line: u32) -> Result<Node, TemplateError> {
        let name = self.template_name("block")?;
        let argument = Some(self.pipeline("block", Kind::Close)?);
        self.definition(line, name.clone())?;
        Ok(Node::Call(Call { line, name, argument }))
    }

    /// The body of a template up to and including `{{end}}`: it sees neither variables nor loops around it.
    fn definition(&mut self, line: u32, name: TemplateName) -> Result<(), TemplateError> {
        let scope = std::mem::replace(&mut self.scope, Scope::new());
        let loops = std::mem::take(&mut self.loops);
        let (list, stop) = self.list(Level::Structure)?;
        self.scope = scope;
        self.loops = loops;
        if matches!(stop, Stop::Else) {
            return Err(self.error("`else` without `if`, `with` or `range`"));
        }
        match self.definitions.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(list);
            }
            // Of several definitions all but one may be blank: that one counts.
            Entry::Occupied(mut entry) if is_blank(entry.get()) => {
                entry.insert(list);
            }
            Entry::Occupied(_) if is_blank(&list) => {}
            Entry::Occupied(entry) => {
                let name = String::from_utf8_lossy(entry.key()).into_owned();
                return Err(TemplateError::at(
                    line,
                    format!("template \"{name}\" is defined more than once"),
                ));
            }
        }
        Ok(())
    }

    fn template_name(&mut self, word: &str) -> Result<TemplateName, TemplateError> {
        self.skip_space();
        let line = self.line();
        match self.advance().map(|token| token.kind) {
            Some(kind @ (Kind::Quoted(_) | Kind::Raw(_))) => Ok(Arc::from(string_of(kind, line)?)),
            _ => Err(TemplateError::at(
                line,
                format!("`{word}` takes the name of a template, a string"),
            )),
        }
    }

    /// Consumes `}}`.
    fn close(&mut self, word: &str) -> Result<(), TemplateError> {
        self.skip_space();
        let line = self.line();
        match self.advance().map(|token| token.kind) {
            Some(Kind::Close) => Ok(()),
            Some(other) => Err(TemplateError::at(
                line,
                format!("expected `}}}}` after `{word}`, found {}", other.describe()),
            )),
            None => Err(TemplateError::at(line, "an action is not closed: expected `}}`")),
        }
    }

    /// Parses something one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, TemplateError>,
    ) -> Result<T, TemplateError> {
        if self.depth >= NESTING {
            return Err(self.error(format!(
                "structures and parentheses are nested more than {NESTING} deep"
            )));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    pub(super) fn advance(&mut self) -> Option<Token<'s>> {
        let token = self.tokens.get(self.next).copied();
        self.next += usize::from(token.is_some());
        token
    }

    pub(super) fn peek(&self) -> Option<Kind<'s>> {
        self.tokens.get(self.next).map(|token| token.kind)
    }

    /// The first two tokens after the next that are no white space.
    pub(super) fn peek_behind(&self) -> (Option<Kind<'s>>, Option<Kind<'s>>) {
        let mut behind = self.tokens.iter().skip(self.next + 1).map(|token| token.kind);
        let mut visible = behind.by_ref().filter(|kind| *kind != Kind::Space);
        (visible.next(), visible.next())
    }

    pub(super) fn skip_space(&mut self) {
        while self.peek() == Some(Kind::Space) {
            self.next += 1;
        }
    }

    /// The line of the next token, or of the last one at the end.
    pub(super) fn line(&self) -> u32 {
        self.tokens
            .get(self.next)
            .or(self.tokens.last())
            .map_or(1, |token| token.line)
    }

    pub(super) fn error(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::at(self.line(), message)
    }
}

/// The bytes of a string token.
pub(super) fn string_of(kind: Kind<'_>, line: u32) -> Result<Vec<u8>, TemplateError> {
    match kind {
        Kind::Quoted(text) => {
            super::literal::quoted(text).map_err(|message| TemplateError::at(line, message))
        }
        Kind::Raw(text) => Ok(super::literal::raw(text)),
        other => Err(TemplateError::at(
            line,
            format!("expected a string, found {}", other.describe()),
        )),
    }
}

/// Whether a template renders nothing but white space, whatever it is given.
fn is_blank(list: &List) -> bool {
    list.iter().all(|node| match node {
        Node::Text(text) => String::from_utf8_lossy(text).trim().is_empty(),
        _ => false,
    })
}
