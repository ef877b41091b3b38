//! The files of the repository, read once; or a handful of made-up ones for tests.

use std::path::Path;

/// One text file.
pub struct SourceFile {
    /// Path below the repository, with `/`.
    pub path: String,
    /// Its whole content.
    pub text: String,
    /// The parsed content of a Rust file; `Err` holds line and message of the parser.
    pub syntax: Option<Result<syn::File, (usize, String)>>,
}

impl SourceFile {
    fn new(path: String, text: String) -> Self {
        let syntax = path
            .ends_with(".rs")
            .then(|| syn::parse_file(&text).map_err(|error| (error.span().start().line, error.to_string())));
        Self { path, text, syntax }
    }

    /// The parsed content, when this is a Rust file that parses.
    pub fn rust(&self) -> Option<&syn::File> {
        self.syntax.as_ref().and_then(|parsed| parsed.as_ref().ok())
    }

    /// Whether the file is data recorded elsewhere, which keeps whatever words it has.
    pub fn is_recorded_data(&self) -> bool {
        self.path.contains("/golden/") || self.path.contains("/seeds/")
    }

    /// Whether everything in the file is there for tests: the folders `tests` and `benches` of a crate, and
    /// modules named `tests`, `testing` or `fakes`.
    pub fn is_for_tests(&self) -> bool {
        let mut parts: Vec<&str> = self.path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        let stem = name.strip_suffix(".rs").unwrap_or(name);
        is_test_module_name(stem)
            || parts
                .iter()
                .any(|folder| is_test_module_name(folder) || *folder == "benches")
    }
}

/// Names of modules that hold code for tests only.
pub fn is_test_module_name(name: &str) -> bool {
    matches!(name, "tests" | "testing" | "fakes")
}

/// The text files of a repository, ordered by path, and the names of all others.
#[derive(Default)]
pub struct Tree {
    /// Every file that is valid UTF-8.
    pub files: Vec<SourceFile>,
    /// Paths of every file and folder, text or not.
    pub paths: std::collections::BTreeSet<String>,
}

impl Tree {
    /// Reads the repository at `root`, leaving out what builds and version control put there.
    pub fn read(root: &Path) -> std::io::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        tree.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, below: &str) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if matches!(name.as_str(), ".git" | "target") || (below == "fuzz/" && name == "corpus") {
                continue;
            }
            let path = format!("{below}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file()
                && let Ok(text) = String::from_utf8(std::fs::read(entry.path())?)
            {
                self.files.push(SourceFile::new(path.clone(), text));
            }
            self.paths.insert(path);
        }
        Ok(())
    }

    /// The Rust files that parse, with their syntax trees.
    pub fn rust_files(&self) -> impl Iterator<Item = (&SourceFile, &syn::File)> {
        self.files
            .iter()
            .filter_map(|file| file.rust().map(|syntax| (file, syntax)))
    }

    /// A tree of the given paths and contents.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            for (position, _) in path.match_indices('/') {
                tree.paths.insert(path[..position].to_owned());
            }
            tree.paths.insert((*path).to_owned());
            tree.files
                .push(SourceFile::new((*path).to_owned(), (*text).to_owned()));
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_folders_and_leaves_out_builds() {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("crates/core/src/lib.rs", "fn a() {}".as_bytes()),
            ("target/debug/build.rs", b"fn b() {}"),
            (".git/config", b"[core]"),
            ("logo.png", &[0xff, 0xfe, 0x00]),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let tree = Tree::read(folder.path()).unwrap();
        let read: Vec<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(read, ["crates/core/src/lib.rs"]);
        assert!(tree.paths.contains("logo.png") && tree.paths.contains("crates/core"));
        assert!(!tree.paths.contains("target"));
    }

    #[test]
    fn knows_files_that_are_for_tests() {
        let tree = Tree::of(&[
            ("crates/core/tests/manifest.rs", ""),
            ("crates/core/src/ambient/testing.rs", ""),
            ("crates/attestation/src/fakes/quote.rs", ""),
            ("crates/core/src/state.rs", ""),
        ]);
        let for_tests: Vec<bool> = tree.files.iter().map(SourceFile::is_for_tests).collect();
        assert_eq!(for_tests, [true, true, true, false]);
    }
}
