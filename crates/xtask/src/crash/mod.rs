//! `cargo xtask crash`: campaigns against the real Coordinator's promise that nothing is lost
//! (`docs/durability.md`). Each has planted faults that it must find, and prints the numbers it reached.

mod bit_rot;
mod clock;
mod commits;
mod coordinator;
mod copies;
mod deployment;
mod full_disk;
mod kill;
mod lost;
mod strace;
mod templates;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::demo::executables;

/// Flags of `crash`.
#[derive(Args)]
pub struct Arguments {
    /// Fewer points in each campaign: for every change
    #[arg(long)]
    quick: bool,
    /// Only these campaigns
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Campaign>,
    /// Test the optimised program
    #[arg(long)]
    release: bool,
    /// Lives that are tried at the same time [default: one for each processor]
    #[arg(long)]
    workers: Option<usize>,
}

/// What can be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Campaign {
    /// `kill -9` at every file system call of every kind of commit
    Kill,
    /// A disk that is really full
    FullDisk,
    /// Damaged bits and blocks
    BitRot,
    /// Files that are foreign, empty, unreadable or gone
    Lost,
    /// A clock that jumps
    Clock,
    /// Copies taken while it works
    Copies,
}

impl Campaign {
    fn run(self, setting: &Setting) -> anyhow::Result<Report> {
        match self {
            Self::Kill => kill::run(setting),
            Self::FullDisk => full_disk::run(setting),
            Self::BitRot => bit_rot::run(setting),
            Self::Lost => lost::run(setting),
            Self::Clock => clock::run(setting),
            Self::Copies => copies::run(setting),
        }
    }
}

/// What all campaigns need.
struct Setting {
    root: PathBuf,
    coordinator: PathBuf,
    marble_run: PathBuf,
    scratch: PathBuf,
    quick: bool,
    workers: usize,
}

impl Setting {
    /// An empty folder of a campaign's own.
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.scratch.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }
}

/// What a campaign found.
struct Report {
    name: &'static str,
    violations: Vec<String>,
    began: Instant,
}

impl Report {
    fn new(name: &'static str) -> Self {
        println!("\n{name}");
        Self {
            name,
            violations: Vec::new(),
            began: Instant::now(),
        }
    }

    fn say(&self, line: impl AsRef<str>) {
        println!("   {}", line.as_ref());
    }
}

/// Runs the campaigns.
pub fn run(root: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    println!("Building the programs …");
    let programs = build(root, arguments.release)?;
    let program = |name: &str| {
        programs
            .get(name)
            .cloned()
            .with_context(|| format!("`cargo build` made no `{name}`"))
    };
    let scratch = tempfile::Builder::new().prefix("marblerun-crash-").tempdir()?;
    // A copy: a build in the middle of a long run must not change what is tried.
    let keep = |name: &str| -> anyhow::Result<PathBuf> {
        let kept = scratch.path().join(name);
        std::fs::copy(program(name)?, &kept).with_context(|| format!("copying {name}"))?;
        Ok(kept)
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let setting = Setting {
        root: root.to_owned(),
        coordinator: keep("marblerun-coordinator")?,
        marble_run: keep("marble-run")?,
        scratch: scratch.path().canonicalize()?,
        quick: arguments.quick,
        workers: arguments.workers.unwrap_or(processors).max(1),
    };
    let mut violations = 0;
    for campaign in Campaign::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(campaign) {
            continue;
        }
        let report = campaign.run(&setting).with_context(|| format!("{campaign:?}"))?;
        for violation in &report.violations {
            println!("   VIOLATION: {violation}");
        }
        println!(
            "   {}: {:.0} s",
            report.name,
            report.began.elapsed().as_secs_f64()
        );
        violations += report.violations.len();
    }
    if violations > 0 {
        bail!("{violations} violations");
    }
    println!("\nNo violations.");
    Ok(())
}

fn build(root: &Path, release: bool) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(["-p", "marblerun-coordinator", "-p", "marblerun-marble", "--bins"])
        .current_dir(root)
        .stdout(Stdio::piped());
    if release {
        command.arg("--release");
    }
    let mut child = command.spawn().context("starting `cargo build`")?;
    let output = child.stdout.take().context("`cargo build` has no output")?;
    let programs = executables(BufReader::new(output));
    let status = child.wait()?;
    if !status.success() {
        bail!("`cargo build` failed with {status}");
    }
    programs
}

/// Runs what talks to a Coordinator.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime")?
        .block_on(work)
}
