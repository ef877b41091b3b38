//! `cargo xtask fuzz`: every target of `fuzz/` under libFuzzer, within limits of time and memory for each input.
//!
//! Before the targets a planted fault has to be found, so that a run that finds nothing says something.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Longest time an input may take, in seconds.
const HANG: u32 = 1;
/// Most memory a process may take, in MiB, the sanitizer's own included.
const MEMORY: u32 = 256;
/// Largest input, in bytes.
const LONGEST: u32 = 64 * 1024;
/// Largest input that is kept in the corpus of the repository, in bytes.
const LONGEST_KEPT: u32 = 1024;
/// Most inputs of a target that are kept; the longest give way.
const MOST_KEPT: usize = 300;
/// How long the planted fault may hide, in seconds.
const PLANTED: u32 = 120;
const PLANTED_TARGET: &str = "planted";
const VERSION: &str = "0.13.2";

/// What to do.
pub struct Options {
    /// How long each target is fed, in seconds.
    pub seconds: u32,
    /// Targets; all when none is named.
    pub targets: Vec<String>,
    /// Whether inputs that reach new code are kept in `fuzz/corpus`.
    pub keep: bool,
}

/// Builds the targets, looks for the planted fault, feeds the targets.
pub fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let fuzz = Fuzz {
        root: root.to_path_buf(),
        folder: root.join("fuzz"),
    };
    let known = fuzz.targets()?;
    let targets = match options.targets.as_slice() {
        [] => known,
        named => {
            if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
                bail!("there is no target {unknown}; there are {}", known.join(", "));
            }
            named.to_vec()
        }
    };
    install()?;
    fuzz.build()?;
    fuzz.write_seeds()?;
    fuzz.find_planted()?;
    let mut faults = Vec::new();
    for target in &targets {
        match fuzz.feed(target, options.seconds)? {
            Outcome::Nothing(line) => println!("{target:<20} {line}"),
            Outcome::Fault(line) => {
                println!("{target:<20} FAULT: {line}");
                faults.push(target.as_str());
            }
        }
        if options.keep {
            fuzz.keep(target)?;
        }
    }
    if faults.is_empty() {
        println!("fuzz: {} targets, no fault", targets.len());
        return Ok(());
    }
    bail!(
        "faults in {}; the inputs are in fuzz/artifacts",
        faults.join(", ")
    )
}

/// Installs `cargo fuzz` if it is not there.
fn install() -> anyhow::Result<()> {
    let present = Command::new("cargo")
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if present.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    succeed(
        Command::new("cargo").args(["install", "cargo-fuzz", "--version", VERSION, "--locked"]),
        "installing cargo-fuzz",
    )
}

fn succeed(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let status = command.status().with_context(|| what.to_owned())?;
    if !status.success() {
        bail!("{what}: {status}");
    }
    Ok(())
}

enum Outcome {
    /// No fault, and what was done.
    Nothing(String),
    /// A fault, and what libFuzzer says of it.
    Fault(String),
}

struct Fuzz {
    root: PathBuf,
    folder: PathBuf,
}

impl Fuzz {
    /// Names of the targets, without the planted fault.
    fn targets(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder.join("fuzz_targets"))? {
            let path = entry?.path();
            if let Some(name) = path.file_stem().and_then(|name| name.to_str())
                && name != PLANTED_TARGET
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The sanitizer and the instrumentation need flags that the stable compiler has, but gives to those only who ask
    /// for unstable ones.
    fn build(&self) -> anyhow::Result<()> {
        succeed(
            Command::new("cargo")
                .args(["fuzz", "build", "--fuzz-dir", "."])
                .env("RUSTC_BOOTSTRAP", "1")
                .current_dir(&self.folder),
            "building the targets",
        )
    }

    fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join("target").join(name)
    }

    fn write_seeds(&self) -> anyhow::Result<()> {
        let folder = self.scratch("seeds");
        succeed(
            Command::new("cargo")
                .args([
                    "test",
                    "--quiet",
                    "--package",
                    "marblerun-fuzz-targets",
                    "--lib",
                    "--",
                ])
                .args(["--ignored", "--exact", "smoke::write_seeds"])
                .env("MARBLERUN_FUZZ_SEEDS", &folder)
                .stdout(Stdio::null())
                .current_dir(&self.root),
            "writing the seeds",
        )
    }

    fn program(&self, target: &str) -> anyhow::Result<PathBuf> {
        let built = self.scratch(&format!("{}/release/{target}", host()?));
        if !built.is_file() {
            bail!("{} was not built", built.display());
        }
        Ok(built)
    }

    /// A run of one target on its working corpus, the corpus that was kept and the seeds.
    fn command(&self, target: &str, log: &Path) -> anyhow::Result<Command> {
        let artifacts = self.folder.join("artifacts").join(target);
        let working = self.scratch(&format!("corpus/{target}"));
        fs::create_dir_all(&artifacts)?;
        fs::create_dir_all(&working)?;
        let mut command = Command::new(self.program(target)?);
        command
            .arg(working)
            .args(
                [
                    self.folder.join("corpus").join(target),
                    self.scratch("seeds").join(target),
                ]
                .iter()
                .filter(|folder| folder.is_dir()),
            )
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-timeout={HANG}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-max_len={LONGEST}"))
            .arg("-print_final_stats=1")
            .env(
                "ASAN_OPTIONS",
                "detect_odr_violation=0:abort_on_error=1:quarantine_size_mb=16",
            )
            .stdout(Stdio::null())
            .stderr(fs::File::create(log)?)
            .current_dir(&self.folder);
        Ok(command)
    }

    fn find_planted(&self) -> anyhow::Result<()> {
        let log = self.scratch("planted.log");
        let found = self
            .command(PLANTED_TARGET, &log)?
            .arg(format!("-max_total_time={PLANTED}"))
            .status()?;
        let said = fs::read_to_string(&log)?;
        if found.success() || !said.contains("the planted fault") {
            bail!("the planted fault was not found in {PLANTED} s: a run proves nothing");
        }
        println!("{PLANTED_TARGET:<20} found, as it has to be");
        fs::remove_dir_all(self.folder.join("artifacts").join(PLANTED_TARGET))?;
        fs::remove_dir_all(self.scratch(&format!("corpus/{PLANTED_TARGET}")))?;
        Ok(())
    }

    fn feed(&self, target: &str, seconds: u32) -> anyhow::Result<Outcome> {
        let log = self.scratch(&format!("{target}.log"));
        let status = self
            .command(target, &log)?
            .arg(format!("-max_total_time={seconds}"))
            .status()?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if !status.success() {
            let about = said
                .lines()
                .find(|line| line.contains("panicked at") || line.contains("ERROR: "))
                .unwrap_or("see the log");
            let shown = format!("{about} ({})", log.display());
            return Ok(Outcome::Fault(shown));
        }
        Ok(Outcome::Nothing(summary(&said)))
    }

    /// Adds to the corpus that is kept what reaches code that nothing in it reaches.
    fn keep(&self, target: &str) -> anyhow::Result<()> {
        let kept = self.folder.join("corpus").join(target);
        fs::create_dir_all(&kept)?;
        let log = self.scratch(&format!("{target}.merge.log"));
        let status = Command::new(self.program(target)?)
            .arg("-set_cover_merge=1")
            // Code that is reached counts, not how often: that keeps the corpus small.
            .arg("-use_counters=0")
            .arg(format!("-max_len={LONGEST_KEPT}"))
            .arg(&kept)
            .arg(self.scratch(&format!("corpus/{target}")))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .current_dir(&self.folder)
            .status()?;
        if !status.success() {
            bail!("keeping inputs of {target}: {status}, see {}", log.display());
        }
        prune(&kept, MOST_KEPT)
    }
}

/// Removes the longest files of a folder until there are no more than `most`.
fn prune(folder: &Path, most: usize) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort();
    for (_, path) in files.iter().skip(most) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The target of the compiler, for which `cargo fuzz` builds.
fn host() -> anyhow::Result<String> {
    let told = Command::new("rustc").arg("-vV").output()?;
    let told = String::from_utf8(told.stdout)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

/// Inputs, inputs a second, features that were reached, memory.
fn summary(said: &str) -> String {
    let statistics: BTreeMap<&str, &str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("stat::")?.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let statistic = |name| statistics.get(name).copied().unwrap_or("?");
    let features = said
        .lines()
        .rev()
        .find_map(|line| line.split_once(" ft: ")?.1.split_whitespace().next());
    format!(
        "{:>9} inputs, {:>6}/s, {:>6} features, {:>4} MiB",
        statistic("number_of_executed_units"),
        statistic("average_exec_per_sec"),
        features.unwrap_or("?"),
        statistic("peak_rss_mb"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_inputs_give_way() {
        let folder = tempfile::tempdir().unwrap();
        for length in 1..=5_usize {
            fs::write(folder.path().join(format!("{length}")), vec![0; length]).unwrap();
        }
        prune(folder.path(), 3).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["1", "2", "3"]);
        prune(folder.path(), 3).unwrap();
    }

    #[test]
    fn the_end_of_a_run_is_summed_up() {
        let said = "#5\tNEW    cov: 3 ft: 12 corp: 2/3b exec/s: 0\n#9\tDONE   cov: 3 ft: 14 corp: 2/3b\n\
                    stat::number_of_executed_units: 9\nstat::average_exec_per_sec:     4\n\
                    stat::peak_rss_mb:              57\n";
        assert_eq!(
            summary(said),
            "        9 inputs,      4/s,     14 features,   57 MiB"
        );
        assert!(summary("").contains('?'));
    }
}
