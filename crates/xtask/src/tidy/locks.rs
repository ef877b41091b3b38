//! The lock file of `fuzz/`, a workspace of its own that no other command resolves, follows the dependencies of ours.

use serde::Deserialize;

use super::Finding;
use super::graph::Graph;
use super::tree::Tree;

const LOCK: &str = "fuzz/Cargo.lock";

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    /// Names, with versions where there are several.
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Each of our crates in the lock file lists those of our crates that it depends on.
pub fn check(tree: &Tree, graph: &Graph) -> Vec<Finding> {
    let Some(file) = tree.files.iter().find(|file| file.path == LOCK) else {
        return vec![finding("not found".to_owned())];
    };
    let lock: Lock = match toml::from_str(&file.text) {
        Ok(lock) => lock,
        Err(error) => return vec![finding(error.to_string())],
    };
    let mut findings = Vec::new();
    for Package { name, dependencies } in &lock.package {
        let declared = graph.declared.get(name).into_iter().flatten();
        for other in declared.filter(|other| graph.members.contains(*other)) {
            if !dependencies.contains(other) {
                findings.push(finding(format!(
                    "`{name}` lacks `{other}`: run `cargo metadata` in `fuzz/`, which brings it up to date"
                )));
            }
        }
    }
    findings
}

fn finding(message: String) -> Finding {
    Finding {
        path: LOCK.to_owned(),
        line: 0,
        rule: "locks",
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_is_not_locked_is_found() {
        let graph = Graph {
            members: ["ours", "ours-too"].map(str::to_owned).into(),
            declared: [("ours".to_owned(), ["ours-too", "serde"].map(str::to_owned).into())].into(),
            ..Graph::default()
        };
        let lock = |list: &str| {
            let text = format!(
                "version = 4\n\n[[package]]\nname = \"ours\"\nversion = \"0.1.0\"\ndependencies = [\n{list}]\n\n\
                 [[package]]\nname = \"serde\"\nversion = \"1.0.0\"\n"
            );
            check(&Tree::of(&[(LOCK, &text)]), &graph)
        };
        assert_eq!(lock(" \"ours-too\",\n \"serde 1.0.0\",\n"), []);
        assert!(
            lock(" \"serde\",\n")[0]
                .message
                .starts_with("`ours` lacks `ours-too`")
        );
        assert_eq!(check(&Tree::of(&[]), &graph).len(), 1);
    }
}
