//! A Coordinator in a folder of its own, and `marblebench` against it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::demo::programs::executables;

/// The programs, optimised.
pub struct Programs {
    coordinator: PathBuf,
    bench: PathBuf,
}

impl Programs {
    /// Builds them.
    pub fn build(root: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut child = Command::new(cargo)
            .args([
                "build",
                "--release",
                "--quiet",
                "--message-format=json-render-diagnostics",
            ])
            .args(["-p", "marblerun-coordinator", "-p", "marblerun-bench", "--bins"])
            .current_dir(root)
            .stdout(Stdio::piped())
            .spawn()
            .context("starting `cargo build`")?;
        let output = child.stdout.take().context("`cargo build` has no output")?;
        let built: BTreeMap<String, PathBuf> = executables(BufReader::new(output))?;
        let status = child.wait()?;
        if !status.success() {
            bail!("`cargo build` failed with {status}");
        }
        let program = |name: &str| {
            built
                .get(name)
                .cloned()
                .with_context(|| format!("no {name} was built"))
        };
        Ok(Self {
            coordinator: program("marblerun-coordinator")?,
            bench: program("marblebench")?,
        })
    }

    /// Those in this folder, built before.
    pub fn found(folder: &Path) -> anyhow::Result<Self> {
        let program = |name: &str| {
            let path = folder.join(name);
            path.is_file()
                .then_some(path)
                .with_context(|| format!("there is no {name} in {}", folder.display()))
        };
        Ok(Self {
            coordinator: program("marblerun-coordinator")?,
            bench: program("marblebench")?,
        })
    }

    /// Bytes of the Coordinator's program.
    pub fn size(&self) -> anyhow::Result<u64> {
        Ok(std::fs::metadata(&self.coordinator)?.len())
    }

    /// What `marblebench` prints.
    pub fn bench(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let output = Command::new(&self.bench)
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .context("starting marblebench")?;
        if !output.status.success() {
            bail!("marblebench {} ended with {}", arguments.join(" "), output.status);
        }
        Ok(output.stdout)
    }
}

/// What lies between two writes that are each made on a connection of their own.
const BETWEEN_WRITES: Duration = Duration::from_micros(500);

/// A running Coordinator. Dropping it ends it and removes its folder.
pub struct Deployment<'p> {
    programs: &'p Programs,
    folder: TempDir,
    flags: Vec<String>,
    child: Option<Child>,
    /// Address of the client API.
    pub client: String,
    /// Address of the Marble API.
    pub mesh: String,
    /// Address of the metrics, if they were asked for.
    pub metrics: Option<String>,
}

impl<'p> Deployment<'p> {
    /// Starts one with these flags beside those that say where.
    pub fn start(programs: &'p Programs, flags: &[&str]) -> anyhow::Result<Self> {
        let mut deployment = Self {
            programs,
            folder: tempfile::Builder::new().prefix("marblerun-bench-").tempdir()?,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            child: None,
            client: String::new(),
            mesh: String::new(),
            metrics: None,
        };
        deployment.restart()?;
        Ok(deployment)
    }

    /// Ends it, if it runs, and starts it on the same state. Answers how long that took until both APIs were there.
    pub fn restart(&mut self) -> anyhow::Result<Duration> {
        self.end();
        let ready = self.file("ready");
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file("log"))?;
        let began = Instant::now();
        let child = Command::new(&self.programs.coordinator)
            .args([
                "--client-addr",
                "127.0.0.1:0",
                "--mesh-addr",
                "127.0.0.1:0",
                "--seal-dir",
            ])
            .arg(self.file("state"))
            .arg("--ready-file")
            .arg(&ready)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting the Coordinator")?;
        self.child = Some(child);
        loop {
            if let Ok(text) = std::fs::read(&ready) {
                let took = began.elapsed();
                let addresses: Value = serde_json::from_slice(&text)?;
                let address = |name: &str| {
                    let found = addresses.get(name).and_then(Value::as_str).map(str::to_owned);
                    found.context("the ready file lacks an address")
                };
                (self.client, self.mesh) = (address("client")?, address("mesh")?);
                self.metrics = address("metrics").ok();
                return Ok(took);
            }
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                bail!(
                    "the Coordinator ended with {}: {}",
                    status?,
                    std::fs::read_to_string(self.file("log"))?
                );
            }
            if began.elapsed() > Duration::from_secs(60) {
                bail!("the Coordinator is not ready after a minute");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It is gone either way.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end (SIGTERM), and waits until it has. It can be [restarted](Self::restart).
    pub fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let child = self.child.as_mut().context("the Coordinator does not run")?;
        let pid = i32::try_from(child.id()).ok();
        let pid = pid
            .and_then(rustix::process::Pid::from_raw)
            .context("the Coordinator has no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .context("asking the Coordinator to end")?;
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the Coordinator did not end within {patience:?}")
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its process id.
    pub fn pid(&self) -> String {
        self.child.as_ref().map_or(0, Child::id).to_string()
    }

    /// Resident memory, bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid()))?;
        let pages: u64 = statm
            .split(' ')
            .nth(1)
            .context("statm has no second field")?
            .parse()?;
        Ok(pages * rustix::param::page_size() as u64)
    }

    /// Sets the manifest that `marblebench manifest` makes of these arguments. Answers how long setting it took.
    pub fn set_manifest(&self, arguments: &[&str]) -> anyhow::Result<Duration> {
        let manifest = self.programs.bench(&[&["manifest"], arguments].concat())?;
        let path = self.file("manifest.json");
        std::fs::write(&path, manifest)?;
        let path = path.to_str().context("a path that is not UTF-8")?;
        let report = self.rest(&["set-manifest", "--manifest", path])?;
        Ok(Duration::from_secs_f64(number(&report, "p50Micros")? / 1e6))
    }

    /// `marblebench activate` with these arguments: its report.
    pub fn activate(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let pid = self.pid();
        let fixed = ["activate", "--json", "--target", &self.mesh, "--pid", &pid];
        Ok(serde_json::from_slice(
            &self.programs.bench(&[&fixed, arguments].concat())?,
        )?)
    }

    /// `marblebench rest` with these arguments: its report.
    pub fn rest(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let pid = self.pid();
        let fixed = ["--json", "--target", &self.client, "--pid", &pid];
        Ok(serde_json::from_slice(
            &self.programs.bench(&[&["rest"], arguments, &fixed].concat())?,
        )?)
    }

    /// Starts `marblebench mix` with these arguments; its output is for the caller to read.
    pub fn mix(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        let (certificate, key) = self.user()?;
        let metrics = self.metrics.as_deref().context("there are no metrics")?;
        Command::new(&self.programs.bench)
            .args(["mix", "--client", &self.client, "--mesh", &self.mesh])
            .args(["--metrics", metrics, "--cert", &certificate, "--key", &key])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting marblebench")
    }

    /// Starts `marblebench activate` without waiting for its end.
    pub fn activate_meanwhile(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        Command::new(&self.programs.bench)
            .args(["activate", "--json", "--target", &self.mesh])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting marblebench")
    }

    /// What `look` sees while this many TLS connections are open.
    pub fn while_held<T>(
        &self,
        count: u64,
        look: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut holder = Command::new(&self.programs.bench)
            .args(["hold", "--target", &self.client, "-n", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting marblebench")?;
        let mut line = String::new();
        let output = holder.stdout.take().context("marblebench has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() != "open" {
            bail!("marblebench hold ended with {}", holder.wait()?);
        }
        let seen = look(self);
        // Its standard input ends, and so does it.
        drop(holder.stdin.take());
        holder.wait()?;
        seen
    }

    /// What is measured, with how long a raw `fdatasync` takes at that time, in microseconds: the mean of before and after.
    pub fn with_raw_fdatasync<T>(
        &self,
        measure: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(f64, T)> {
        let before = self.raw_fdatasync()?;
        let measured = measure()?;
        let after = self.raw_fdatasync()?;
        Ok(((before + after).as_secs_f64() / 2.0 * 1e6, measured))
    }

    /// How long it takes here to append 300 bytes and have them on disk: the median of many.
    fn raw_fdatasync(&self) -> anyhow::Result<Duration> {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file("raw"))?;
        let mut times = Vec::new();
        for _ in 0..200 {
            // As writes come in the measures: one after the other keeps disk and processor awake.
            std::thread::sleep(BETWEEN_WRITES);
            let began = Instant::now();
            file.write_all(&[7; 300])?;
            rustix::fs::fdatasync(file.as_fd())?;
            times.push(began.elapsed());
        }
        times.sort();
        times
            .get(times.len() / 2)
            .copied()
            .context("nothing was measured")
    }

    /// A user's certificate and key in its folder: their paths.
    pub fn user(&self) -> anyhow::Result<(String, String)> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec!["user".to_owned()])?.self_signed(&key)?;
        let (certificate_path, key_path) = (self.file("user.crt"), self.file("user.key"));
        std::fs::write(&certificate_path, certificate.pem())?;
        std::fs::write(&key_path, key.serialize_pem())?;
        let text = |path: &Path| {
            path.to_str()
                .map(str::to_owned)
                .context("a path that is not UTF-8")
        };
        Ok((text(&certificate_path)?, text(&key_path)?))
    }
}

impl Drop for Deployment<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A number of a report.
pub fn number(report: &Value, name: &str) -> anyhow::Result<f64> {
    report
        .get(name)
        .and_then(Value::as_f64)
        .with_context(|| format!("the report has no number {name}"))
}
