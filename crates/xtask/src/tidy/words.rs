//! Words that have no place in the tree: paths of somebody's machine, reminders instead of work, hosts of
//! package registries, numbers of tickets.

use syn::visit::Visit;

use super::Finding;
use super::tree::{SourceFile, Tree};

/// How a word has to stand in the text to count.
#[derive(Clone, Copy)]
enum Match {
    /// No letter, digit or underscore on either side.
    Whole,
    /// No letter, digit, underscore, dot or dash before it; anything after it.
    Beginning,
    /// Anywhere in a Rust file.
    InRust,
    /// Ignoring case, followed by a number.
    BeforeNumber,
}

/// Each word is written in two pieces, so that this file does not hold it.
const WORDS: &[(&str, Match, &str)] = &[
    (concat!("/wo", "rk/"), Match::Beginning, "a path of one machine"),
    (concat!("/fa", "rm/"), Match::Beginning, "a path of one machine"),
    (
        concat!("TO", "DO"),
        Match::Whole,
        "a reminder: do it or write down the limit",
    ),
    (
        concat!("FIX", "ME"),
        Match::Whole,
        "a reminder: do it or write down the limit",
    ),
    (
        concat!("X", "XX"),
        Match::Whole,
        "a reminder: do it or write down the limit",
    ),
    (
        concat!("to", "do!"),
        Match::InRust,
        "a hole: the function has to be whole",
    ),
    (
        concat!("crates", ".io"),
        Match::Beginning,
        "a host of a package registry",
    ),
    (
        concat!("index.crates", ".io"),
        Match::Beginning,
        "a host of a package registry",
    ),
    (
        concat!("static.crates", ".io"),
        Match::Beginning,
        "a host of a package registry",
    ),
    (
        concat!("pypi", ".org"),
        Match::Beginning,
        "a host of a package registry",
    ),
    (
        concat!("files.python", "hosted.org"),
        Match::Beginning,
        "a host of a package registry",
    ),
    (
        concat!("registry.npm", "js.org"),
        Match::Beginning,
        "a host of a package registry",
    ),
    (
        concat!("proxy.go", "lang.org"),
        Match::Beginning,
        "a host of a package registry",
    ),
    (
        concat!("sum.go", "lang.org"),
        Match::Beginning,
        "a host of a package registry",
    ),
    (
        concat!("iss", "ue"),
        Match::BeforeNumber,
        "a ticket number: say the reason itself",
    ),
    (
        concat!("tic", "ket"),
        Match::BeforeNumber,
        "a ticket number: say the reason itself",
    ),
];

/// Forbidden words in every text file but recordings, the lock file (which names its registry) and the licence;
/// and tests that are ignored without saying why.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.is_recorded_data() || file.path.ends_with("Cargo.lock") || file.path == "LICENSE" {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            for (word, how, reason) in WORDS {
                if occurs(line, word, *how, file.path.ends_with(".rs")) {
                    findings.push(finding(file, index + 1, format!("`{word}` is {reason}")));
                }
            }
        }
        if let Some(syntax) = file.rust() {
            let mut ignored = Ignored { lines: Vec::new() };
            ignored.visit_file(syntax);
            findings.extend(ignored.lines.into_iter().map(|line| {
                finding(
                    file,
                    line,
                    "an ignored test has to say why: `#[ignore = \"…\"]`".to_owned(),
                )
            }));
        }
    }
    findings
}

fn finding(file: &SourceFile, line: usize, message: String) -> Finding {
    Finding {
        path: file.path.clone(),
        line,
        rule: "words",
        message,
    }
}

fn occurs(line: &str, word: &str, how: Match, rust: bool) -> bool {
    let lowered;
    let line = match how {
        Match::InRust if !rust => return false,
        Match::BeforeNumber => {
            lowered = line.to_ascii_lowercase();
            &lowered
        }
        _ => line,
    };
    line.match_indices(word).any(|(position, _)| {
        let (before, rest) = line.split_at(position);
        let before = before.chars().next_back();
        let mut after = rest.strip_prefix(word).unwrap_or_default().chars();
        let in_word = |character: char| character.is_alphanumeric() || character == '_';
        match how {
            Match::Whole => !before.is_some_and(in_word) && !after.next().is_some_and(in_word),
            Match::Beginning => !before.is_some_and(|one| in_word(one) || matches!(one, '.' | '-')),
            Match::InRust => !before.is_some_and(in_word),
            Match::BeforeNumber => {
                !before.is_some_and(in_word)
                    && after.next() == Some(' ')
                    && after
                        .find(|one| *one != '#')
                        .is_some_and(|one| one.is_ascii_digit())
            }
        }
    })
}

/// Lines of `#[ignore]` without a reason.
struct Ignored {
    lines: Vec<usize>,
}

impl<'tree> Visit<'tree> for Ignored {
    fn visit_attribute(&mut self, attribute: &'tree syn::Attribute) {
        if let syn::Meta::Path(path) = &attribute.meta
            && path.is_ident("ignore")
        {
            self.lines.push(attribute.pound_token.span.start().line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)]))
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn planted_words_are_found() {
        for (word, how, _) in WORDS {
            let line = match how {
                Match::BeforeNumber => format!("// see {word} #12"),
                _ => format!("// see {word} (here)"),
            };
            assert_eq!(
                lines("crates/core/src/a.rs", &format!("\n{line}\n")),
                [2],
                "{line}"
            );
        }
        assert_eq!(lines("docs/a.md", concat!("TO", "DO\n")), [1]);
        assert_eq!(lines(".ci/run", concat!("cd /wo", "rk/main\n")), [1]);
        assert_eq!(lines("a.md", concat!("Iss", "ue 7 says so\n")), [1]);
    }

    #[test]
    fn words_inside_others_are_not_found() {
        for line in [
            concat!("mktemp -d /tmp/demo.XX", "XXXX"),
            concat!("MASTO", "DON"),
            concat!("a net/wo", "rk/path"),
            "the issuer of a certificate; issue of 2 quotes",
            "see the issue",
        ] {
            assert!(lines("docs/a.md", line).is_empty(), "{line}");
        }
        let word = concat!("FIX", "ME");
        assert!(lines("crates/core/tests/golden/a.json", word).is_empty());
        assert!(
            lines(
                "Cargo.lock",
                concat!("registry+https://github.com/rust-lang/crates", ".io-index")
            )
            .is_empty()
        );
    }

    #[test]
    fn ignored_tests_need_a_reason() {
        assert_eq!(
            lines("crates/core/src/a.rs", "#[test]\n#[ignore]\nfn f() {}\n"),
            [2]
        );
        assert!(
            lines(
                "crates/core/src/a.rs",
                "#[test]\n#[ignore = \"needs a TDX machine\"]\nfn f() {}\n"
            )
            .is_empty()
        );
    }
}
