//! A Coordinator as a process, started again and again in folders of its own.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::Setting;

/// Longest wait for a start or an end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something that is waited for is looked at.
const INTERVAL: Duration = Duration::from_millis(2);

/// How to start it.
#[derive(Default, Clone)]
pub struct Start {
    /// More flags.
    pub flags: Vec<&'static str>,
    /// More environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// Stopped before its first instruction, until somebody continues it.
    pub stopped: bool,
}

/// A running Coordinator; ended when dropped.
pub struct Coordinator {
    child: Child,
    folder: PathBuf,
    /// `host:port` of the client API, once it is ready.
    pub client: String,
    /// `host:port` of the Marble API, once it is ready.
    pub mesh: String,
}

/// What became of a start.
pub enum Started {
    /// Both APIs listen.
    Ready(Coordinator),
    /// It ended by itself, with this log.
    Ended(ExitStatus, String),
}

/// Where the state is, in the folder of a Coordinator.
pub fn state(folder: &Path) -> PathBuf {
    folder.join("state")
}

impl Coordinator {
    /// Starts it in `folder` and does not wait.
    pub fn spawn(setting: &Setting, folder: &Path, start: &Start) -> anyhow::Result<Self> {
        let ready = folder.join("ready");
        // It may not be there.
        let _ = std::fs::remove_file(&ready);
        let mut command = if start.stopped {
            let mut shell = Command::new("/bin/sh");
            shell
                .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
                .arg(&setting.coordinator);
            shell
        } else {
            Command::new(&setting.coordinator)
        };
        let child = command
            .env_clear()
            .envs(start.environment.iter().map(|(name, value)| (*name, value)))
            .current_dir(folder)
            .args([
                "--simulation",
                "--mesh-addr",
                "127.0.0.1:0",
                "--client-addr",
                "127.0.0.1:0",
            ])
            .arg("--seal-dir")
            .arg(state(folder))
            .arg("--ready-file")
            .arg(&ready)
            .args(&start.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("log"))?)
            .spawn()
            .with_context(|| format!("starting {}", setting.coordinator.display()))?;
        Ok(Self {
            child,
            folder: folder.to_owned(),
            client: String::new(),
            mesh: String::new(),
        })
    }

    /// Starts it and waits until it is ready or has ended.
    pub fn start(setting: &Setting, folder: &Path, start: &Start) -> anyhow::Result<Started> {
        Self::spawn(setting, folder, start)?.wait_until_ready()
    }

    /// Starts it where it has to come up.
    pub fn running(setting: &Setting, folder: &Path, start: &Start) -> anyhow::Result<Self> {
        match Self::start(setting, folder, start)? {
            Started::Ready(coordinator) => Ok(coordinator),
            Started::Ended(status, log) => bail!("the Coordinator ended with {status}\n{log}"),
        }
    }

    /// Waits for a start that was begun.
    pub fn wait_until_ready(mut self) -> anyhow::Result<Started> {
        let ready = self.folder.join("ready");
        let until = Instant::now() + PATIENCE;
        loop {
            // Written under another name and renamed, so what is there is whole.
            if let Ok(text) = std::fs::read(&ready) {
                let addresses: serde_json::Value =
                    serde_json::from_slice(&text).context("reading the ready file")?;
                let address = |name: &str| {
                    let address = addresses.get(name).and_then(serde_json::Value::as_str);
                    address
                        .map(str::to_owned)
                        .context("the ready file lacks an address")
                };
                self.client = address("client")?;
                self.mesh = address("mesh")?;
                return Ok(Started::Ready(self));
            }
            if let Some(status) = self.child.try_wait()? {
                return Ok(Started::Ended(status, self.log()));
            }
            if Instant::now() >= until {
                bail!("the Coordinator is not ready after {PATIENCE:?}\n{}", self.log());
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The folder it was started in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Whether it has ended, for those who cannot wait for it.
    pub fn is_gone(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()));
        let state = stat
            .ok()
            .and_then(|stat| stat.rsplit(") ").next().and_then(|rest| rest.chars().next()));
        matches!(state, None | Some('Z' | 'X'))
    }

    /// Waits for an end that is near: `false` if it does not come.
    pub fn ends_within(&mut self, patience: Duration) -> anyhow::Result<bool> {
        let until = Instant::now() + patience;
        while !self.has_ended()? {
            if Instant::now() >= until {
                return Ok(false);
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(true)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).context("sending a signal to the Coordinator")
    }

    /// Kills it (SIGKILL) and waits for the end.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies a folder with plain files and folders in it.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)
                .with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Ok(())
}
