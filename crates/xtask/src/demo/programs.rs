//! Builds the programs of the demo and finds where Cargo put them.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use cargo_metadata::Message;

/// The programs of the demo.
#[derive(Debug)]
pub struct Programs {
    /// The Coordinator.
    pub coordinator: PathBuf,
    /// The command line.
    pub marblerun: PathBuf,
    /// What activates a marble.
    pub marble_run: PathBuf,
    /// The server marble.
    pub hello_server: PathBuf,
    /// The client marble.
    pub hello_client: PathBuf,
}

impl Programs {
    /// Builds them; what the compiler says goes to standard error.
    pub fn build(root: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut child = Command::new(cargo)
            .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
            .args([
                "-p",
                "marblerun-coordinator",
                "-p",
                "marblerun-cli",
                "-p",
                "marblerun-marble",
                "--bins",
            ])
            .args(["--example", "hello-server", "--example", "hello-client"])
            .current_dir(root)
            .stdout(Stdio::piped())
            .spawn()
            .context("starting `cargo build`")?;
        let output = child.stdout.take().context("`cargo build` has no output")?;
        let executables = executables(BufReader::new(output));
        let status = child.wait()?;
        if !status.success() {
            bail!("`cargo build` failed with {status}");
        }
        Self::of(&executables?)
    }

    fn of(executables: &BTreeMap<String, PathBuf>) -> anyhow::Result<Self> {
        let find = |name: &str| {
            let path = executables.get(name).cloned();
            path.with_context(|| format!("`cargo build` made no program `{name}`"))
        };
        Ok(Self {
            coordinator: find("marblerun-coordinator")?,
            marblerun: find("marblerun")?,
            marble_run: find("marble-run")?,
            hello_server: find("hello-server")?,
            hello_client: find("hello-client")?,
        })
    }

    /// A command that the settings of whoever runs the demo do not reach.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let foreign = name.to_str().is_some_and(|name| {
                ["EDG_", "OE_", "MARBLE_", "HELLO_", "AZURE_"]
                    .iter()
                    .any(|start| name.starts_with(start))
                    || name == "RUST_LOG"
            });
            if foreign {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Name of each program that Cargo reports, and its file.
pub fn executables(messages: impl std::io::BufRead) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for message in Message::parse_stream(messages) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(executable) = artifact.executable
        {
            found.insert(artifact.target.name, executable.into_std_path_buf());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_by_name_and_a_missing_one_is_named() {
        let message = r#"{"reason":"compiler-artifact","package_id":"a 0.1.0","manifest_path":"/a/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"marble-run","src_path":"/a/main.rs","edition":"2024","doc":true,"doctest":false,"test":true},"profile":{"opt_level":"0","debuginfo":1,"debug_assertions":true,"overflow_checks":true,"test":false},"features":[],"filenames":["/t/marble-run"],"executable":"/t/marble-run","fresh":true}"#;
        let found = executables(message.as_bytes()).unwrap();
        assert_eq!(found.get("marble-run"), Some(&PathBuf::from("/t/marble-run")));
        let missing = Programs::of(&found).unwrap_err();
        assert!(missing.to_string().contains("`marblerun-coordinator`"));
    }
}
