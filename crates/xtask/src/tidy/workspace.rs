//! Every member of the workspace says in a comment what it is for, inherits the lints, and the crates that are
//! audited alone forbid `unsafe`.

use super::Finding;
use super::tree::{SourceFile, Tree};

/// Crates in which no `unsafe` may be allowed, not even for one item.
const WITHOUT_UNSAFE: &[&str] = &["core", "wire", "attestation"];

/// Checks `Cargo.toml`, each member's `Cargo.toml` and the libraries of [`WITHOUT_UNSAFE`].
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(root) = tree.files.iter().find(|file| file.path == "Cargo.toml") else {
        return vec![finding("Cargo.toml", 0, "not found".to_owned())];
    };
    for (line, member, commented) in members(root) {
        if !commented {
            findings.push(finding(
                &root.path,
                line,
                format!("member `{member}` has no comment saying what it is"),
            ));
        }
        let manifest = format!("{member}/Cargo.toml");
        if let Some(file) = tree.files.iter().find(|file| file.path == manifest)
            && !inherits_lints(&file.text)
        {
            findings.push(finding(
                &file.path,
                0,
                "lacks `[lints]` with `workspace = true`".to_owned(),
            ));
        }
    }
    for name in WITHOUT_UNSAFE {
        let path = format!("crates/{name}/src/lib.rs");
        if let Some(file) = tree.files.iter().find(|file| file.path == path)
            && !file.rust().is_some_and(forbids_unsafe)
        {
            findings.push(finding(&path, 1, "lacks `#![forbid(unsafe_code)]`".to_owned()));
        }
    }
    findings
}

fn finding(path: &str, line: usize, message: String) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        rule: "workspace",
        message,
    }
}

/// Line, path and whether a comment follows, of each entry of `members`.
fn members(root: &SourceFile) -> Vec<(usize, String, bool)> {
    root.text
        .lines()
        .enumerate()
        .skip_while(|(_, line)| !line.trim_start().starts_with("members"))
        .skip(1)
        .take_while(|(_, line)| line.trim() != "]")
        .filter_map(|(index, line)| {
            let (path, rest) = line.trim().strip_prefix('"')?.split_once('"')?;
            let comment = rest
                .split_once('#')
                .is_some_and(|(_, comment)| !comment.trim().is_empty());
            Some((index + 1, path.to_owned(), comment))
        })
        .collect()
}

fn inherits_lints(manifest: &str) -> bool {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| line == "workspace = true")
}

fn forbids_unsafe(library: &syn::File) -> bool {
    library.attrs.iter().any(|attribute| {
        attribute.path().is_ident("forbid")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|lint| lint.is_ident("unsafe_code"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = [\n    \"crates/core\", # the rules\n]\n";
    const MEMBER: &str = "[package]\nname = \"marblerun-core\"\n\n[lints]\nworkspace = true\n";
    const LIBRARY: &str = "//! Rules.\n#![forbid(unsafe_code)]\n";

    fn messages(root: &str, member: &str, library: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("Cargo.toml", root),
            ("crates/core/Cargo.toml", member),
            ("crates/core/src/lib.rs", library),
        ]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_good_workspace_passes() {
        assert_eq!(messages(ROOT, MEMBER, LIBRARY), Vec::<String>::new());
    }

    #[test]
    fn planted_faults_are_found() {
        let uncommented = ROOT.replace("# the rules", "");
        assert!(messages(&uncommented, MEMBER, LIBRARY)[0].contains("Cargo.toml:3"));
        let without_lints = MEMBER.replace("workspace = true", "");
        assert!(messages(ROOT, &without_lints, LIBRARY)[0].contains("crates/core/Cargo.toml"));
        let deny = LIBRARY.replace("forbid", "deny");
        assert!(messages(ROOT, MEMBER, &deny)[0].contains("forbid(unsafe_code)"));
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}
