//! Files stay short: 400 lines without tests, never above 600.

use syn::spanned::Spanned;

use super::Finding;
use super::syntax::is_test_item;
use super::tree::Tree;

/// Above this a file is named in a warning.
const WISHED: usize = 400;
/// Above this the run fails.
const LIMIT: usize = 600;

/// Rust files that are too long (errors) and those on the way there (warnings).
pub fn check(tree: &Tree) -> (Vec<Finding>, Vec<Finding>) {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    for (file, syntax) in tree.rust_files() {
        if file.is_for_tests() {
            continue;
        }
        let lines = lines_without_tests(&file.text, syntax);
        let (list, limit) = match lines {
            _ if lines > LIMIT => (&mut errors, LIMIT),
            _ if lines > WISHED => (&mut warnings, WISHED),
            _ => continue,
        };
        list.push(Finding {
            path: file.path.clone(),
            line: 0,
            rule: "lengths",
            message: format!("{lines} lines without tests, more than {limit}: split it by topic"),
        });
    }
    (errors, warnings)
}

/// Lines of the file less those of its top-level items for tests.
fn lines_without_tests(text: &str, syntax: &syn::File) -> usize {
    let tests: usize = syntax
        .items
        .iter()
        .filter(|item| is_test_item(item))
        .map(|item| {
            let span = item.span();
            span.end().line.saturating_sub(span.start().line) + 1
        })
        .sum();
    text.lines().count().saturating_sub(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths_of(path: &str, code: usize, test: usize) -> (usize, usize) {
        let text = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn a() {}\n".repeat(code),
            "fn b() {}\n".repeat(test)
        );
        let (errors, warnings) = check(&Tree::of(&[(path, &text)]));
        (errors.len(), warnings.len())
    }

    #[test]
    fn only_lines_outside_tests_count() {
        assert_eq!(lengths_of("crates/core/src/a.rs", 400, 5000), (0, 0));
        assert_eq!(lengths_of("crates/core/src/a.rs", 401, 0), (0, 1));
        assert_eq!(lengths_of("crates/core/src/a.rs", 600, 0), (0, 1));
        assert_eq!(lengths_of("crates/core/src/a.rs", 601, 0), (1, 0));
        assert_eq!(lengths_of("crates/core/tests/a.rs", 2000, 0), (0, 0));
    }
}
