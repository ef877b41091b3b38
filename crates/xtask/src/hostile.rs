//! `cargo xtask hostile`: what slow and hostile peers can do to the Coordinator's program, in numbers.
//!
//! The campaign is a test of the crate of the Coordinator, which has the peers; here the program is built as it is
//! shipped, and named to the tests.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use cargo_metadata::Message;

/// Names the program to the tests.
const PROGRAM: &str = "MARBLERUN_COORDINATOR";
/// How much of everything, for the campaign.
const EXTENT: &str = "MARBLERUN_HOSTILE";

/// Runs the campaign, and what refused attempts of strangers cost.
///
/// # Errors
/// When a number misses its target, or the program cannot be built.
pub fn run(root: &Path, quick: bool) -> anyhow::Result<()> {
    let program = build(root)?;
    let extent = if quick { "quick" } else { "full" };
    println!("slow and hostile peers ({extent}):");
    test(root, &program, extent, &["campaign::hostile_peers", "--ignored"])?;
    println!("refused attempts of strangers:");
    test(root, &program, extent, &["refused::"])
}

/// Builds the optimised Coordinator.
fn build(root: &Path) -> anyhow::Result<String> {
    let mut child = cargo(root)
        .args([
            "build",
            "--release",
            "--quiet",
            "-p",
            "marblerun-coordinator",
            "--bins",
        ])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("starting `cargo build`")?;
    let output = child.stdout.take().context("`cargo build` has no output")?;
    let mut program = None;
    for message in Message::parse_stream(std::io::BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message? {
            program = artifact.executable.or(program);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`cargo build` failed with {status}");
    }
    program.map(Into::into).context("`cargo build` made no program")
}

/// Runs the tests of the servers that `select` chooses, against `program`.
fn test(root: &Path, program: &str, extent: &str, select: &[&str]) -> anyhow::Result<()> {
    let status = cargo(root)
        .args([
            "test",
            "--quiet",
            "-p",
            "marblerun-coordinator",
            "--test",
            "server",
            "--",
        ])
        .args(["--nocapture"])
        .args(select)
        .env(PROGRAM, program)
        .env(EXTENT, extent)
        .status()
        .context("starting `cargo test`")?;
    if !status.success() {
        bail!("`cargo test` ended with {status}");
    }
    Ok(())
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}
