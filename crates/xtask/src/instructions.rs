//! `cargo xtask instructions`: how many instructions the rules take, counted by callgrind, which counts the same for the
//! same program whatever else the machine does. One that takes over 2 % more than recorded fails, and one that takes so
//! much less that the recorded number would hide how it grows again.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use cargo_metadata::Message;

/// What is counted: names known to `crates/core/benches/instructions.rs`.
const SCENARIOS: &[&str] = &[
    "activate",
    "write-secret",
    "manifest-10",
    "manifest-1000",
    "manifest-10000",
    "quote",
    "restart-10000",
];
/// The scenario that is run twice to see that this is noticed.
const PLANTED: &str = "activate";
/// How much more than recorded is too much.
const TOLERANCE: f64 = 0.02;
/// How much less than recorded has to be recorded.
const STALE: f64 = 0.10;
/// The recorded numbers, below the root.
const RECORDED: &str = "docs/performance/instructions.json";

/// Counts, and compares or records.
///
/// # Errors
/// A scenario costs too much, or nothing can be counted.
pub fn run(root: &Path, record: bool) -> anyhow::Result<()> {
    let program = build(root)?;
    let planted = count(&program, PLANTED, true)?;
    let mut counted = BTreeMap::new();
    for scenario in SCENARIOS {
        counted.insert((*scenario).to_owned(), least(&program, scenario)?);
    }
    let single = counted.get(PLANTED).copied().unwrap_or_default();
    if !is_too_much(planted, single) {
        bail!("{PLANTED} twice took {planted} instructions, once {single}: the count counts nothing");
    }
    let path = root.join(RECORDED);
    if record {
        std::fs::write(&path, serde_json::to_string_pretty(&counted)? + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
        println!("recorded in {RECORDED}");
        return Ok(());
    }
    let recorded = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let recorded: BTreeMap<String, u64> = serde_json::from_str(&recorded)?;
    let (mut failed, mut stale) = (Vec::new(), Vec::new());
    for (scenario, found) in &counted {
        let Some(before) = recorded.get(scenario) else {
            bail!("{scenario} is not in {RECORDED}; `cargo xtask instructions --record`");
        };
        let change = (*found as f64 / *before as f64 - 1.0) * 100.0;
        println!("{scenario:>16}: {found:>12} instructions, {change:+.2} % against the recorded {before}");
        if is_too_much(*found, *before) {
            failed.push(scenario.as_str());
        }
        if is_stale(*found, *before) {
            stale.push(scenario.as_str());
        }
    }
    if let Some(unknown) = recorded.keys().find(|name| !counted.contains_key(*name)) {
        bail!("{unknown} is in {RECORDED} and is not counted; `cargo xtask instructions --record`");
    }
    if !failed.is_empty() {
        bail!(
            "more instructions than recorded, by over 2 %: {}; find out why, and if it has to be, `cargo xtask \
             instructions --record`",
            failed.join(", ")
        );
    }
    if !stale.is_empty() {
        bail!(
            "fewer instructions than recorded, by over 10 %: {}; so that it is noticed when they grow again, `cargo xtask \
             instructions --record`",
            stale.join(", ")
        );
    }
    Ok(())
}

/// The least of three counts: hash tables of random seeds make some runs take a little more.
fn least(program: &Path, scenario: &str) -> anyhow::Result<u64> {
    let counts: Vec<u64> = (0..3)
        .map(|_| count(program, scenario, false))
        .collect::<anyhow::Result<_>>()?;
    counts.into_iter().min().context("nothing was counted")
}

fn is_too_much(found: u64, recorded: u64) -> bool {
    found as f64 > recorded as f64 * (1.0 + TOLERANCE)
}

fn is_stale(found: u64, recorded: u64) -> bool {
    (found as f64) < recorded as f64 * (1.0 - STALE)
}

fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(cargo)
        .args([
            "bench",
            "--no-run",
            "--quiet",
            "-p",
            "marblerun-core",
            "--bench",
            "instructions",
        ])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting `cargo bench`")?;
    let output = child.stdout.take().context("`cargo bench` has no output")?;
    let mut program = None;
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message? {
            program = artifact.executable.or(program);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`cargo bench` failed with {status}");
    }
    program.map(Into::into).context("`cargo bench` made no program")
}

fn count(program: &Path, scenario: &str, twice: bool) -> anyhow::Result<u64> {
    let mut command = Command::new("valgrind");
    command
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--collect-atstart=no",
        ])
        .arg("--toggle-collect=*measured_region*")
        .arg(program)
        .arg(scenario);
    if twice {
        command.arg("--twice");
    }
    let output = command.output().context("starting valgrind; is it installed?")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{scenario} ended with {}: {text}", output.status);
    }
    collected(&text).with_context(|| format!("valgrind did not say what {scenario} took: {text}"))
}

/// The number in callgrind's last lines, `==1== Collected : 123`.
fn collected(text: &str) -> Option<u64> {
    let number = text
        .lines()
        .find_map(|line| line.split_once("Collected : ").map(|(_, number)| number))?;
    number.trim().parse().ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_and_two_percent_are_too_much() {
        let text = "==12== Events    : Ir\n==12== Collected : 123456\n==12==\n";
        assert_eq!(collected(text), Some(123_456));
        assert_eq!(collected("==12== Collected : 0\n"), None);
        assert_eq!(collected("nothing"), None);
        assert!(!is_too_much(102_000, 100_000));
        assert!(is_too_much(102_001, 100_000));
        assert!(is_stale(89_999, 100_000) && !is_stale(90_001, 100_000));
    }
}
