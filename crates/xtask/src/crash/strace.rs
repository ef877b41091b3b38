//! A life of a Coordinator that `strace` watches: it counts the file system calls, or kills at one of them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;

use super::Setting;
use super::commits::Kind;
use super::coordinator::{Coordinator, Start, Started, state};

/// Calls that change files: all of them count, wherever the file is.
const CHANGING: &str = "creat,openat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,fsync,fdatasync,ftruncate,\
                        fchmod,fchmodat,copy_file_range";
/// Calls that also mean sockets and pipes: those on the files of the state count.
const ON_STATE: &str =
    "write,writev,pwrite64,read,pread64,lseek,statx,fstat,newfstatat,getdents64,flock,close";
/// Where a Coordinator is killed.
#[derive(Debug, Clone)]
pub struct Point {
    /// Name of the system call.
    pub call: String,
    /// The how manyeth, counted for each name by itself.
    pub number: usize,
    /// Whether only those on files of the state count.
    on_state: bool,
}

/// What `strace` is to do.
pub enum Trace<'a> {
    /// Writes all calls into a file.
    Count(&'a Path),
    /// Kills at one.
    Kill(&'a Point),
}

/// A Coordinator that is watched.
pub struct Life {
    /// It.
    pub coordinator: Coordinator,
    strace: Option<Child>,
}

impl Life {
    /// Starts it and watches it: a start from its first instruction, commits from when it is ready.
    pub fn begin(
        setting: &Setting,
        kind: Kind,
        place: &Path,
        trace: Option<Trace<'_>>,
    ) -> anyhow::Result<Self> {
        if kind.is_start() {
            // From its first instruction.
            let start = Start {
                stopped: true,
                ..kind.start()
            };
            let coordinator = Coordinator::spawn(setting, place, &start)?;
            wait_until_stopped(coordinator.id())?;
            let strace = trace
                .map(|trace| attach(&coordinator, &trace, true))
                .transpose()?;
            coordinator.signal(Signal::CONT)?;
            return Ok(Self { coordinator, strace });
        }
        let coordinator = Coordinator::running(setting, place, &kind.start())?;
        let strace = trace
            .map(|trace| attach(&coordinator, &trace, false))
            .transpose()?;
        Ok(Self { coordinator, strace })
    }

    /// Whether it has been killed; ends it otherwise.
    pub fn end(self) -> anyhow::Result<bool> {
        let Self {
            mut coordinator,
            strace,
        } = self;
        let killed = if coordinator.client.is_empty() {
            match coordinator.wait_until_ready()? {
                Started::Ready(coordinator) => {
                    coordinator.kill()?;
                    false
                }
                Started::Ended(status, log) => {
                    use std::os::unix::process::ExitStatusExt as _;
                    ensure!(status.signal() == Some(9), "the start ended with {status}\n{log}");
                    true
                }
            }
        } else if coordinator.ends_within(Duration::from_millis(20))? {
            true
        } else {
            coordinator.kill()?;
            false
        };
        if let Some(mut strace) = strace {
            strace.wait()?;
        }
        Ok(killed)
    }
}

fn attach(coordinator: &Coordinator, trace: &Trace<'_>, from_the_start: bool) -> anyhow::Result<Child> {
    let mut command = Command::new("strace");
    command.args(["-f", "-p", &coordinator.id().to_string()]);
    let mut on_state = false;
    match trace {
        Trace::Count(log) => {
            // Which files they are about is looked at when the log is read.
            command
                .arg("-o")
                .arg(log)
                .args(["-y", "-e", &format!("trace={CHANGING},{ON_STATE}")]);
        }
        Trace::Kill(point) => {
            // A start opens many other files.
            on_state = point.on_state || (from_the_start && point.call == "openat");
            command.args(["-o", "/dev/null"]).args([
                "-e",
                &format!("trace={}", point.call),
                "-e",
                &format!("inject={}:signal=KILL:when={}", point.call, point.number),
            ]);
        }
    }
    if on_state {
        for path in files_of(&state(coordinator.folder())) {
            command.arg("-P").arg(path);
        }
    }
    let mut strace = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting strace")?;
    let mut messages = BufReader::new(strace.stderr.take().context("strace has no standard error")?);
    let (mut line, mut said) = (String::new(), String::new());
    loop {
        line.clear();
        if messages.read_line(&mut line)? == 0 {
            bail!("strace did not attach: {said}");
        }
        if line.contains(" attached") {
            break;
        }
        said.push_str(&line);
    }
    // It goes on telling of threads, and must not wait for a reader.
    std::thread::spawn(move || messages.read_to_end(&mut Vec::new()));
    Ok(strace)
}

/// Files by the names they have, as `strace -P` takes them.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut paths = vec![folder.to_owned()];
    for name in [
        "sealed_data",
        "sealed_data.new",
        "sealed_key",
        "sealed_key.new",
        "checkpoint.new",
        "lock",
        "simulation_seal_key",
    ] {
        paths.push(folder.join(name));
    }
    paths
}

fn wait_until_stopped(id: u32) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')) {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "the Coordinator did not stop before its start"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Every call that was written into a file.
pub fn points(log: &Path, from_the_start: bool) -> anyhow::Result<Vec<Point>> {
    let all: Vec<Point> = count_calls(log, from_the_start)?
        .into_iter()
        .flat_map(|(call, count)| {
            let on_state = ON_STATE.split(',').any(|name| name == call);
            (1..=count).map(move |number| Point {
                call: call.clone(),
                number,
                on_state,
            })
        })
        .collect();
    ensure!(!all.is_empty(), "no file system calls were seen");
    Ok(all)
}

/// How often each call was made, those of the second list on files of the state alone.
fn count_calls(log: &Path, from_the_start: bool) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(log)?.lines() {
        let Some((call, arguments)) = line
            .split_once(' ')
            .and_then(|(_, rest)| rest.trim_start().split_once('('))
        else {
            continue;
        };
        let changing = CHANGING.split(',').any(|name| name == call) && !(from_the_start && call == "openat");
        let on_state = call == "openat" || ON_STATE.split(',').any(|name| name == call);
        if changing || (on_state && arguments.contains("/state")) {
            *counts.entry(call.to_owned()).or_insert(0) += 1;
        }
    }
    Ok(counts)
}
