//! YAML manifests as JSON, in the very bytes existing clients upload, so that fingerprints agree (`spec/09`).
//!
//! The parser only delivers events; what a scalar means is decided in [`scalar`], by the rules of YAML 1.1 as
//! existing clients know them: `yes` and `on` are booleans, `010` is eight, `1_000` a thousand, a date is text,
//! base 60 does not exist. Aliases share their value; what they expand to is bounded when it is written.

mod scalar;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_saphyr::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Tag};

use self::scalar::Scalar;

/// Deepest nesting, aliases expanded.
const MAXIMUM_DEPTH: usize = 200;

/// What is wrong with a YAML text, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct YamlError {
    line: usize,
    column: usize,
    reason: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "line {} column {}: {}",
            self.line, self.column, self.reason
        )
    }
}

impl std::error::Error for YamlError {}

/// Reads the first document, a mapping, and writes it as compact JSON of at most `limit` bytes with sorted keys.
///
/// # Errors
/// The text is no YAML, no mapping, repeats a key, holds a value that JSON has no place for or more than one
/// document, or is too long when its aliases are expanded.
pub fn to_json(text: &str, limit: usize) -> Result<String, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = read(text)?;
    if !matches!(root.kind, Kind::Map(_)) {
        return Err(at(&Marker::new(0, 1, 0), "a mapping was expected"));
    }
    write::to_json(&root, limit).map_err(|reason| at(&Marker::new(0, 1, 0), reason))
}

/// A value with its nesting depth.
struct Node {
    kind: Kind,
    depth: usize,
}

enum Kind {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(BTreeMap<String, Rc<Node>>),
}

/// A collection that is being read.
struct Frame {
    content: Content,
    anchor: usize,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map {
        entries: BTreeMap<String, Rc<Node>>,
        key: Option<Key>,
    },
}

/// The key whose value comes next.
enum Key {
    Name(String),
    /// `<<`: the value is a mapping, or a list of such, whose entries are added to this one.
    Merge,
}

fn read(text: &str) -> Result<Rc<Node>, YamlError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader {
        stack: Vec::new(),
        anchors: BTreeMap::new(),
        root: None,
        ended: false,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| at(error.marker(), error.info()))?;
        reader.take(event, &span.start)?;
    }
    reader
        .root
        .ok_or_else(|| at(&Marker::new(0, 1, 0), "it is empty; a mapping was expected"))
}

struct Reader {
    stack: Vec<Frame>,
    /// Values by anchor, `None` while they are being read.
    anchors: BTreeMap<usize, Option<Rc<Node>>>,
    root: Option<Rc<Node>>,
    /// Whether the first document has ended.
    ended: bool,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, place: &Marker) -> Result<(), YamlError> {
        match event {
            Event::DocumentEnd => self.ended = true,
            Event::Scalar(text, style, anchor, tag) => {
                if self.expects_key() && style == ScalarStyle::Plain && tag.is_none() && text == "<<" {
                    self.set_key(Key::Merge);
                    return Ok(());
                }
                let scalar = scalar::resolve(&text, style, tag.as_deref().and_then(core_tag).as_deref())
                    .map_err(|reason| at(place, reason))?;
                if matches!(scalar, Scalar::Float(value) if !value.is_finite()) && !self.expects_key() {
                    return Err(at(place, write::NOT_FINITE));
                }
                self.finish(
                    Rc::new(Node {
                        kind: Kind::Scalar(scalar),
                        depth: 1,
                    }),
                    anchor,
                    place,
                )?;
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(Some(node)) => self.finish(Rc::clone(node), 0, place)?,
                _ => return Err(at(place, "an alias inside of what it stands for")),
            },
            Event::SequenceStart(_, anchor, _) => self.open(Content::List(Vec::new()), anchor, place)?,
            Event::MappingStart(_, anchor, _) => {
                self.open(
                    Content::Map {
                        entries: BTreeMap::new(),
                        key: None,
                    },
                    anchor,
                    place,
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Frame { content, anchor }) = self.stack.pop() {
                    let kind = match content {
                        Content::List(elements) => Kind::List(elements),
                        Content::Map { entries, .. } => Kind::Map(entries),
                    };
                    let deepest = match &kind {
                        Kind::List(elements) => elements.iter().map(|node| node.depth).max(),
                        Kind::Map(entries) => entries.values().map(|node| node.depth).max(),
                        Kind::Scalar(_) => None,
                    };
                    let depth = deepest.unwrap_or(0).saturating_add(1);
                    if depth > MAXIMUM_DEPTH {
                        return Err(at(place, format!("nested deeper than {MAXIMUM_DEPTH}")));
                    }
                    self.finish(Rc::new(Node { kind, depth }), anchor, place)?;
                }
            }
            // Stream and document starts carry no value; comments, unresolved aliases and anchor metadata are
            // not asked for.
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, content: Content, anchor: usize, place: &Marker) -> Result<(), YamlError> {
        if self.expects_key() {
            return Err(at(place, "a key must be text, a number or a boolean"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.stack.push(Frame { content, anchor });
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn finish(&mut self, node: Rc<Node>, anchor: usize, place: &Marker) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, Some(Rc::clone(&node)));
        }
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None if self.ended => {
                // A marker at the end of a file opens a document that says nothing.
                if !matches!(node.kind, Kind::Scalar(Scalar::Null)) {
                    return Err(at(place, "a second document; a manifest is one"));
                }
            }
            None => self.root = Some(node),
            Some(Content::List(elements)) => elements.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                None => *key = Some(Key::Name(name(&node, place)?)),
                Some(Key::Name(name)) => insert(entries, name, node, place)?,
                Some(Key::Merge) => merge(entries, &node, place)?,
            },
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Frame {
                content: Content::Map { key: None, .. },
                ..
            })
        )
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Frame {
            content: Content::Map { key, .. },
            ..
        }) = self.stack.last_mut()
        {
            *key = Some(new);
        }
    }
}

fn insert(
    entries: &mut BTreeMap<String, Rc<Node>>,
    name: String,
    node: Rc<Node>,
    place: &Marker,
) -> Result<(), YamlError> {
    if entries.contains_key(&name) {
        return Err(at(place, format!("key {name:?} is given twice")));
    }
    entries.insert(name, node);
    Ok(())
}

/// Existing clients refuse keys that are both merged and given, as any repeated key.
fn merge(entries: &mut BTreeMap<String, Rc<Node>>, from: &Node, place: &Marker) -> Result<(), YamlError> {
    match &from.kind {
        Kind::Map(others) => {
            for (name, node) in others {
                insert(entries, name.clone(), Rc::clone(node), place)?;
            }
            Ok(())
        }
        Kind::List(maps) if maps.iter().all(|node| matches!(node.kind, Kind::Map(_))) => {
            maps.iter().try_for_each(|node| merge(entries, node, place))
        }
        _ => Err(at(place, "<< needs a mapping or a list of mappings")),
    }
}

fn name(node: &Node, place: &Marker) -> Result<String, YamlError> {
    match &node.kind {
        Kind::Scalar(scalar) => scalar.as_key(),
        Kind::List(_) | Kind::Map(_) => None,
    }
    .ok_or_else(|| at(place, "a key must be text, a number or a boolean"))
}

/// The name of a tag of YAML's own (`int` of `!!int`).
fn core_tag(tag: &Tag) -> Option<String> {
    tag.suffix_in_namespace("tag:yaml.org,2002:")
        .map(std::borrow::Cow::into_owned)
}

fn at(place: &Marker, reason: impl Into<String>) -> YamlError {
    YamlError {
        line: place.line(),
        column: place.col().saturating_add(1),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use marblerun_client::manifest_fingerprint;

    use super::*;

    const MANIFESTS: &[(&str, &str, &str)] = &[
        (
            r#"# a package and a marble
Packages:
  backend:
    UniqueID: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    Debug: no
  frontend:
    SignerID: 1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100
    ProductID: 0x2C
    SecurityVersion: 3
    Debug: Yes
Marbles:
  backend:
    Package: backend
    MaxActivations: 010
    Parameters:
      Argv: [./backend, --first, serve]
      Env:
        A: <static> & more
        MULTI: |
          first
          second
        FOLDED: >-
          one
          line
      Files:
        /etc/x: "{{ pem .MarbleRun.RootCA.Cert }}\u2028\u2029"
Secrets: {}
Users: ~
"#,
            r#"{"Marbles":{"backend":{"MaxActivations":8,"Package":"backend","Parameters":{"Argv":["./backend","--first","serve"],"Env":{"A":"\u003cstatic\u003e \u0026 more","FOLDED":"one line","MULTI":"first\nsecond\n"},"Files":{"/etc/x":"{{ pem .MarbleRun.RootCA.Cert }}\u2028\u2029"}}}},"Packages":{"backend":{"Debug":false,"UniqueID":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},"frontend":{"Debug":true,"ProductID":44,"SecurityVersion":3,"SignerID":"1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100"}},"Secrets":{},"Users":null}"#,
            "f24c2d986443c5fc97ca117b0b5ba6d034aeee0238c614f8eb2b818acc8d465f",
        ),
        (
            r#"on: off
b: [y, n, "y", 'n', ON, nO]
"#,
            r#"{"b":[true,false,"y","n",true,"nO"],"true":false}"#,
            "40cdffc9d3c1e5be84bf4e7e95bdf5e3ed49fc7a3060d5947932f1a2a326e911",
        ),
        (
            r#"port: 1_000
time: 12:30:45
date: 2021-11-21
version: 1.10
exponent: 1e3
big: 1e21
small: 0.0000001
"#,
            r#"{"big":1e+21,"date":"2021-11-21","exponent":1000,"port":1000,"small":1e-7,"time":"12:30:45","version":1.1}"#,
            "504a5c9cec6d1ed74c2f3a00f5e2d5d41197ad53a036f1f544843d1432a44863",
        ),
        (
            r#"defaults: &defaults
  Debug: true
  ProductID: 1
Packages:
  a:
    <<: *defaults
    SignerID: s
  b: *defaults
"#,
            r#"{"Packages":{"a":{"Debug":true,"ProductID":1,"SignerID":"s"},"b":{"Debug":true,"ProductID":1}},"defaults":{"Debug":true,"ProductID":1}}"#,
            "04918e4c38e38e306a04c144cd37bab710d2c39cdeb3d67eabf1d7af3b9fbd35",
        ),
        (
            r#"text: "quote \" back\\slash / tab\t bell\a nul\0 del\x7f é \U0001F600"
"#,
            "{\"text\":\"quote \\\" back\\\\slash / tab\\t bell\\u0007 nul\\u0000 del\u{7f} é 😀\"}",
            "740d8dca3379b80e823ea42947c9ffd9491cc3e6927cb4399a4d95c061c66f2a",
        ),
    ];

    fn json(yaml: &str) -> String {
        to_json(yaml, 1 << 20).unwrap_or_else(|error| panic!("{yaml}: {error}"))
    }

    fn refusal(yaml: &str) -> String {
        to_json(yaml, 1 << 20).expect_err(yaml).to_string()
    }

    /// The expected JSON follows from the rules; the fingerprints were computed from it with `sha256sum`.
    #[test]
    fn manifests_and_their_fingerprints() {
        for &(yaml, expected, fingerprint) in MANIFESTS {
            assert_eq!(json(yaml), expected);
            assert_eq!(
                manifest_fingerprint(json(yaml).as_bytes()),
                fingerprint,
                "{expected}"
            );
        }
    }

    #[test]
    fn keys() {
        assert_eq!(
            json("b: 1\nB: 2\n\u{e9}: 3\na: 4\n10: 5\n9: 6\n1.5: 7\non: 8\n~x: 9\n"),
            "{\"1.5\":7,\"10\":5,\"9\":6,\"B\":2,\"a\":4,\"b\":1,\"true\":8,\"~x\":9,\"\u{e9}\":3}"
        );
        assert_eq!(json("? a\n: b\n"), r#"{"a":"b"}"#);
        assert!(refusal("~: 1").contains("a key must be text"));
        assert!(refusal("? [a]\n: 1").contains("a key must be text"));
        assert!(refusal("? {a: b}\n: 1").contains("a key must be text"));
        assert!(refusal("18446744073709551615: 1").contains("a key must be text"));
    }

    #[test]
    fn repeated_keys_are_refused_with_their_place() {
        assert_eq!(
            refusal("a: 1\nb: 2\na: 3\n"),
            "line 3 column 4: key \"a\" is given twice"
        );
        assert!(refusal("m:\n  x: {k: 1, k: 1}\n").contains("key \"k\" is given twice"));
        assert!(refusal("yes: 1\ntrue: 2\n").contains("key \"true\" is given twice"));
        assert!(refusal("1: 1\n\"1\": 2\n").contains("key \"1\" is given twice"));
        assert_eq!(
            json("a: {k: 1}\nb: {k: 1}\nA: 1\n"),
            r#"{"A":1,"a":{"k":1},"b":{"k":1}}"#
        );
    }

    #[test]
    fn anchors_aliases_and_merges() {
        assert_eq!(
            json("a: &x [1, {b: c}]\nd: *x\n"),
            r#"{"a":[1,{"b":"c"}],"d":[1,{"b":"c"}]}"#
        );
        assert_eq!(json("a: &x yes\n*x : *x\n"), r#"{"a":true,"true":true}"#);
        assert_eq!(
            json("a: &x {k: 1}\nb: {<<: *x, l: 2}\n"),
            r#"{"a":{"k":1},"b":{"k":1,"l":2}}"#
        );
        assert_eq!(
            json("a: &x {k: 1}\nb: &y {l: 2}\nc:\n  <<: [*x, *y]\n  m: 3\n"),
            r#"{"a":{"k":1},"b":{"l":2},"c":{"k":1,"l":2,"m":3}}"#
        );
        assert_eq!(json("\"<<\": 1"), r#"{"\u003c\u003c":1}"#);
        assert!(refusal("a: &x {k: 1}\nb: {<<: *x, k: 2}\n").contains("key \"k\" is given twice"));
        assert!(refusal("a: &x {k: 1}\nb: {k: 2, <<: *x}\n").contains("key \"k\" is given twice"));
        assert!(refusal("<<: 1").contains("<< needs a mapping"));
        assert!(refusal("<<: [1]").contains("<< needs a mapping"));
        assert!(refusal("a: &x [*x]").contains("an alias inside of what it stands for"));
        assert!(refusal("a: *nobody").starts_with("line 1 column 4"));
    }

    #[test]
    fn aliases_cannot_explode() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let before = level - 1;
            bomb += &format!(
                "a{level}: &a{level} [{}]\n",
                vec![format!("*a{before}"); 10].join(", ")
            );
        }
        assert!(refusal(&bomb).contains("longer than 1048576 bytes when its aliases are expanded"));
        let mut tower = "a0: &a0 [x]\n".to_owned();
        for level in 1..300 {
            tower += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
        }
        assert!(refusal(&tower).contains("nested deeper than 200"));
        assert!(to_json(&("[".repeat(100_000)), 1 << 20).is_err());
        assert!(to_json(&("- ".repeat(100_000)), 1 << 20).is_err());
    }

    #[test]
    fn documents() {
        assert_eq!(
            json("\u{feff}%YAML 1.1\n--- # comment\na: b\n...\n"),
            r#"{"a":"b"}"#
        );
        assert_eq!(json("---\na: b\n---\n"), r#"{"a":"b"}"#);
        assert!(refusal("a: b\n---\nc: d\n").contains("a second document"));
        for nothing in ["", "# comment only\n", "---\n", "- a\n- b\n", "text", "~"] {
            assert!(refusal(nothing).contains("a mapping was expected"), "{nothing:?}");
        }
        assert!(refusal("a: b\n c: d\n").starts_with("line 2"));
        assert!(refusal("a: [1, 2").starts_with("line 1"));
        assert!(refusal("a:\n\tb: 1\n").starts_with("line 2"));
    }
}
