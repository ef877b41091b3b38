//! `cargo xtask tidy`: the rules of the house, checked.
//!
//! Each rule is a function from a [`Tree`] (or a [`graph::Graph`] of dependencies) to findings, so each can be
//! shown a small tree with a planted fault. The same run is a test of this crate, so that `cargo test` fails
//! when a rule is broken.

mod calls;
mod graph;
mod lengths;
mod links;
mod locks;
mod simulation;
mod syntax;
mod tree;
mod words;
mod workspace;

use std::path::Path;

use anyhow::{Context, bail};

use tree::Tree;

/// One place where a rule does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path below the repository, with `/`.
    pub path: String,
    /// Line, counted from 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// Name of the rule.
    pub rule: &'static str,
    /// What was found, and what to do instead.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            path,
            line,
            rule,
            message,
        } = self;
        match line {
            0 => write!(formatter, "{path}: [{rule}] {message}"),
            _ => write!(formatter, "{path}:{line}: [{rule}] {message}"),
        }
    }
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Broken rules: the run fails.
    pub errors: Vec<Finding>,
    /// Worth knowing: the run does not fail.
    pub warnings: Vec<Finding>,
}

/// Checks the repository at `root` and prints every finding; an error when a rule is broken.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let report = check(root)?;
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    for error in &report.errors {
        println!("error: {error}");
    }
    match report.errors.len() {
        0 => {
            println!("tidy: no rule broken, {} warnings", report.warnings.len());
            Ok(())
        }
        count => bail!("tidy: {count} findings"),
    }
}

/// Applies every rule to the repository at `root`.
fn check(root: &Path) -> anyhow::Result<Report> {
    let tree = Tree::read(root).with_context(|| format!("reading the tree at {}", root.display()))?;
    let graph = graph::Graph::read(root).context("reading the dependencies with `cargo metadata`")?;
    let mut report = check_tree(&tree);
    report.errors.extend(graph::check(&graph));
    report.errors.extend(locks::check(&tree, &graph));
    report.errors.sort();
    report.warnings.sort();
    Ok(report)
}

/// The rules that look at files only.
fn check_tree(tree: &Tree) -> Report {
    let mut report = Report::default();
    let (too_long, long) = lengths::check(tree);
    report.errors.extend(too_long);
    report.warnings.extend(long);
    report.errors.extend(syntax::check(tree));
    report.errors.extend(calls::check(tree));
    report.errors.extend(simulation::check(tree));
    report.errors.extend(words::check(tree));
    report.errors.extend(workspace::check(tree));
    report.errors.extend(links::check(tree));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The repository keeps its own rules.
    #[test]
    fn this_repository_is_tidy() {
        let report = check(&crate::repository_root()).unwrap();
        let lines: Vec<String> = report.errors.iter().map(Finding::to_string).collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }

    /// A run over a tree with several faults reports each of them, not only the first.
    #[test]
    fn all_findings_of_a_tree_are_reported() {
        let long = "fn line() {}\n".repeat(601);
        let tree = Tree::of(&[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\n    \"crates/core\",\n]\n",
            ),
            ("README.md", "See [the guide](docs/missing.md).\n"),
            (
                "crates/core/src/lib.rs",
                "pub fn now() -> std::time::SystemTime { std::time::SystemTime::now() }\n",
            ),
            ("crates/core/src/long.rs", &long),
            ("crates/core/src/broken.rs", "fn (\n"),
            (
                "crates/cli/src/main.rs",
                "fn main() { SimulationMode::by_explicit_configuration(); }\n",
            ),
            ("docs/notes.md", concat!("TO", "DO: write this\n")),
        ]);
        let mut rules: Vec<&str> = check_tree(&tree)
            .errors
            .iter()
            .map(|finding| finding.rule)
            .collect();
        rules.sort_unstable();
        rules.dedup();
        assert_eq!(
            rules,
            [
                "calls",
                "lengths",
                "links",
                "simulation",
                "syntax",
                "words",
                "workspace"
            ]
        );
    }
}
