//! The tokens of a template.

/// One token and the line it begins on.
#[derive(Clone, Copy)]
pub(super) struct Token<'s> {
    /// What it is.
    pub(super) kind: Kind<'s>,
    /// From 1.
    pub(super) line: u32,
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'s> {
    /// Text between actions, trim markers applied, not empty.
    Text(&'s [u8]),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// White space inside an action; it separates operands.
    Space,
    /// `.`
    Dot,
    /// `.name`, without the dot.
    Field(&'s str),
    /// `$` or `$name`, with the dollar sign.
    Variable(&'s str),
    /// The name of a function.
    Word(&'s str),
    /// A word of the language.
    Keyword(Keyword),
    /// `true` or `false`.
    Bool(bool),
    /// `nil`
    Nil,
    /// A number as written.
    Number(&'s str),
    /// A character as written, with its quotes.
    Character(&'s str),
    /// A string as written, with its quotes.
    Quoted(&'s str),
    /// A raw string as written, without its back quotes.
    Raw(&'s str),
    /// `|`
    Bar,
    /// `(`
    Left,
    /// `)`
    Right,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
}

/// The words that are no function names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

const KEYWORDS: [(&str, Keyword); 10] = [
    ("block", Keyword::Block),
    ("break", Keyword::Break),
    ("continue", Keyword::Continue),
    ("define", Keyword::Define),
    ("else", Keyword::Else),
    ("end", Keyword::End),
    ("if", Keyword::If),
    ("range", Keyword::Range),
    ("template", Keyword::Template),
    ("with", Keyword::With),
];

impl Kind<'_> {
    /// How an error names the token.
    pub(super) fn describe(&self) -> String {
        match self {
            Kind::Text(_) => "text".into(),
            Kind::Open => "`{{`".into(),
            Kind::Close => "`}}`".into(),
            Kind::Space => "white space".into(),
            Kind::Dot => "`.`".into(),
            Kind::Field(name) => format!("`.{name}`"),
            Kind::Variable(name) | Kind::Word(name) => format!("`{name}`"),
            Kind::Keyword(keyword) => {
                let word = KEYWORDS
                    .iter()
                    .find(|(_, known)| known == keyword)
                    .map_or("", |(word, _)| *word);
                format!("`{word}`")
            }
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Nil => "`nil`".into(),
            Kind::Number(text) | Kind::Character(text) => format!("`{text}`"),
            Kind::Quoted(_) | Kind::Raw(_) => "a string".into(),
            Kind::Bar => "`|`".into(),
            Kind::Left => "`(`".into(),
            Kind::Right => "`)`".into(),
            Kind::Declare => "`:=`".into(),
            Kind::Assign => "`=`".into(),
            Kind::Comma => "`,`".into(),
        }
    }
}

impl Keyword {
    /// The keyword of that name.
    pub(super) fn named(word: &str) -> Option<Self> {
        KEYWORDS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, keyword)| *keyword)
    }
}
