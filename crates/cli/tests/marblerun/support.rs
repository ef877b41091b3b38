//! Runs the real program in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use marblerun_coordinator::assemble::{self, Running, StartError};
use marblerun_coordinator::config::Config;
use marblerun_coordinator::opening::OpeningError;
use marblerun_coordinator::store::StoreError;
use tempfile::TempDir;

/// A home, working directory and configuration for one test.
pub struct Home(TempDir);

/// How the program ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, &[])
    }

    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_marblerun"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Outcome {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Starts a Coordinator in this process. The lock of a state that was in use a moment ago may still be held by a program
/// that another test is just starting, which has a copy of every open file until it runs.
pub async fn start_coordinator(config: &Config) -> Running {
    for _ in 0..100 {
        match assemble::start(config).await {
            Err(StartError::Opening(OpeningError::Store(StoreError::InUse { .. }))) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            started => return started.unwrap_or_else(|error| panic!("{error}")),
        }
    }
    panic!("the state is in use for five seconds");
}
