//! Simulation by accident is impossible: the token that allows skipping a check is made in one place.

use syn::visit::Visit;

use super::Finding;
use super::syntax::{is_test_item, is_test_only};
use super::tree::Tree;

/// The function that makes the token.
const MAKER: &str = "by_explicit_configuration";

/// Uses of the maker outside the configuration of the Coordinator and outside tests.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, syntax) in tree.rust_files() {
        let configuration = file.path == "crates/coordinator/src/config.rs"
            || file.path.starts_with("crates/coordinator/src/config/");
        if configuration || file.is_for_tests() {
            continue;
        }
        let mut uses = Uses { lines: Vec::new() };
        uses.visit_file(syntax);
        findings.extend(uses.lines.into_iter().map(|line| Finding {
            path: file.path.clone(),
            line,
            rule: "simulation",
            message: format!(
                "`{MAKER}` may be used in the configuration of the Coordinator and in tests only"
            ),
        }));
    }
    findings
}

struct Uses {
    lines: Vec<usize>,
}

impl Uses {
    fn examine_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident) if ident == MAKER => {
                    self.lines.push(ident.span().start().line);
                }
                proc_macro2::TokenTree::Group(group) => self.examine_tokens(group.stream()),
                _ => {}
            }
        }
    }
}

impl<'tree> Visit<'tree> for Uses {
    fn visit_item(&mut self, item: &'tree syn::Item) {
        if !is_test_item(item) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'tree syn::ImplItemFn) {
        if !is_test_only(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path_segment(&mut self, segment: &'tree syn::PathSegment) {
        if segment.ident == MAKER {
            self.lines.push(segment.ident.span().start().line);
        }
        syn::visit::visit_path_segment(self, segment);
    }

    fn visit_macro(&mut self, invocation: &'tree syn::Macro) {
        self.examine_tokens(invocation.tokens.clone());
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
    fn planted_uses_are_found() {
        let call = "fn f() {\n    let mode = SimulationMode::by_explicit_configuration();\n}\n";
        assert_eq!(lines("crates/coordinator/src/assemble.rs", call), [2]);
        assert_eq!(lines("crates/marble/src/premain.rs", call), [2]);
        assert_eq!(
            lines(
                "crates/core/src/a.rs",
                "fn f() { let make = SimulationMode::by_explicit_configuration; }"
            ),
            [1]
        );
        assert_eq!(
            lines(
                "crates/core/src/a.rs",
                "fn f() { vec![SimulationMode::by_explicit_configuration()]; }"
            ),
            [1]
        );
    }

    #[test]
    fn configuration_tests_and_the_definition_are_free() {
        let call = "fn f() { SimulationMode::by_explicit_configuration(); }";
        assert!(lines("crates/coordinator/src/config.rs", call).is_empty());
        assert!(lines("crates/coordinator/src/config/mod.rs", call).is_empty());
        assert!(lines("crates/coordinator/tests/activate.rs", call).is_empty());
        assert!(
            lines(
                "crates/core/src/a.rs",
                &format!("#[cfg(test)] mod tests {{ {call} }}")
            )
            .is_empty()
        );
        let definition = "impl SimulationMode { pub fn by_explicit_configuration() -> Self { Self(()) } }";
        assert!(lines("crates/core/src/ambient.rs", definition).is_empty());
    }
}
