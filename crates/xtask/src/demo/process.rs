//! Child processes whose output goes to files in the demo's folder, and which end with the demo.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How often something that is waited for is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// Lines of a log that an error shows.
const SHOWN: usize = 15;

/// A running child. Dropping it ends it.
pub struct Process {
    name: String,
    /// `None` once it has been waited for, or was left running.
    child: Option<Child>,
    id: u32,
    output: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; `name` is for messages and, with dashes, for the files in `folder` that standard output
    /// and standard error go to. It gets a process group of its own, so that it can outlive the demo.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let file_name = name.replace(' ', "-");
        let output = folder.join(format!("{file_name}.out"));
        let log = folder.join(format!("{file_name}.log"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&log)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            id: child.id(),
            child: Some(child),
            output,
            log,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it has printed so far.
    pub fn output(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(&self.output).with_context(|| format!("reading the output of {}", self.name))
    }

    /// The content of a file that the process writes, once there is any.
    pub fn wait_for_file(&mut self, path: &Path, patience: Duration) -> anyhow::Result<String> {
        let what = format!("write {}", path.display());
        self.wait_until(&what, patience, |_| {
            let text = std::fs::read_to_string(path).ok()?;
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        })
    }

    /// The first line of its output that contains `part`.
    pub fn wait_for_line(&mut self, part: &str, patience: Duration) -> anyhow::Result<String> {
        self.wait_until(&format!("print a line with `{part}`"), patience, |process| {
            let output = process.output().ok()?;
            output.lines().find(|line| line.contains(part)).map(str::to_owned)
        })
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn terminate(mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let id = i32::try_from(self.id)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let id = id.with_context(|| format!("{} has no process id", self.name))?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .with_context(|| format!("asking {} to end", self.name))?;
        self.wait_for_end(patience)
    }

    /// Ends it at once.
    pub fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.status()? {
            bail!(
                "{} ended by itself, with {status}\n{}",
                self.name,
                self.last_lines()
            );
        }
        self.end();
        Ok(())
    }

    /// Lets it run on after the demo.
    pub fn leave_running(mut self) {
        self.child = None;
    }

    fn wait_for_end(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.status()? {
                self.child = None;
                return Ok(status);
            }
            if Instant::now() >= until {
                bail!(
                    "{} did not end within {patience:?}\n{}",
                    self.name,
                    self.last_lines()
                );
            }
            std::thread::sleep(INTERVAL);
        }
    }

    fn wait_until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        look: impl Fn(&Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + patience;
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = self.status()? {
                bail!(
                    "{} ended with {status}; it was to {what}\n{}",
                    self.name,
                    self.last_lines()
                );
            }
            if Instant::now() >= until {
                bail!(
                    "{} did not {what} within {patience:?}\n{}",
                    self.name,
                    self.last_lines()
                );
            }
            std::thread::sleep(INTERVAL);
        }
    }

    fn status(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// The end of its log, for an error.
    fn last_lines(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let (_, last) = lines.split_at(lines.len().saturating_sub(SHOWN));
        last.join("\n")
    }

    /// Ends it if it is still there.
    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a command that has to end with success; what it printed.
pub fn run_to_end(name: &str, command: Command, folder: &Path, patience: Duration) -> anyhow::Result<String> {
    let mut process = Process::start(name, command, folder)?;
    let status = process.wait_for_end(patience)?;
    if !status.success() {
        bail!("{name} failed with {status}\n{}", process.last_lines());
    }
    process.output()
}

/// Runs a command that has to be refused; the last line of its log, which says why.
pub fn run_to_refusal(
    name: &str,
    command: Command,
    folder: &Path,
    patience: Duration,
) -> anyhow::Result<String> {
    let mut process = Process::start(name, command, folder)?;
    let status = process.wait_for_end(patience)?;
    if status.code() != Some(1) {
        bail!(
            "{name} was to be refused and ended with {status}\n{}",
            process.last_lines()
        );
    }
    let reason = process.last_lines().lines().last().map(str::to_owned);
    reason.with_context(|| format!("{name} was refused without a reason in its log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn files_and_lines_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        let script = format!(
            "echo one; echo two says: x; sleep 0.1; echo here > {}; sleep 60",
            path.display()
        );
        let mut process = Process::start("a child", shell(&script), folder.path()).unwrap();
        assert_eq!(process.wait_for_file(&path, PATIENCE).unwrap(), "here");
        assert_eq!(process.wait_for_line(" says: ", PATIENCE).unwrap(), "two says: x");
        let late = process
            .wait_for_line("three", Duration::from_millis(50))
            .unwrap_err();
        assert!(late.to_string().contains("did not print a line with `three`"));
        process.kill().unwrap();
    }

    #[test]
    fn a_child_that_fails_is_named_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            Process::start("a child", shell("echo no disk >&2; exit 3"), folder.path()).unwrap();
        let error = process
            .wait_for_file(&folder.path().join("ready"), PATIENCE)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a child ended with exit status: 3") && error.contains("no disk"),
            "{error}"
        );
        assert!(
            process
                .kill()
                .unwrap_err()
                .to_string()
                .contains("ended by itself")
        );
    }

    #[test]
    fn success_and_refusal_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let end = |script: &str| run_to_end("it", shell(script), folder.path(), PATIENCE);
        let refusal = |script: &str| run_to_refusal("it", shell(script), folder.path(), PATIENCE);
        assert_eq!(end("echo done").unwrap(), "done\n");
        assert!(
            end("echo bad >&2; exit 1")
                .unwrap_err()
                .to_string()
                .contains("bad")
        );
        assert_eq!(refusal("echo a >&2; echo why >&2; exit 1").unwrap(), "why");
        assert!(refusal("exit 0").is_err() && refusal("exit 127").is_err() && refusal("exit 1").is_err());
    }

    #[test]
    fn a_child_ends_when_asked_and_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(
            "it",
            shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"),
            folder.path(),
        );
        let mut process = process.unwrap();
        process.wait_for_line("up", PATIENCE).unwrap();
        assert!(process.terminate(PATIENCE).unwrap().success());

        let process = Process::start("it", shell("exec sleep 60"), folder.path()).unwrap();
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
