//! What is seen each second: of the process in `/proc` (proc(5)), of its files, and what the load came to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::Value;

use crate::bench::deployment::{Deployment, number};

/// One second.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    pub process: Process,
    /// Bytes of the files of the seal directory.
    pub sealed: u64,
    /// Activations so far, those that were refused too.
    pub activations: u64,
    /// Unexpected answers so far.
    pub failures: u64,
    /// What they were.
    pub failed: Vec<String>,
    /// Bytes of `/metrics`.
    pub metrics: u64,
    /// Bytes of the update log.
    pub log: u64,
    /// Of each kind of load in this second: how many, and microseconds that half and 99 of 100 of them took at most.
    pub parts: BTreeMap<String, [u64; 3]>,
}

/// What a process has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Resident memory, bytes.
    pub resident: u64,
    /// The part of it that no file stands behind: heap and stacks. Bytes.
    pub anonymous: u64,
    pub threads: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Processor time so far, user and kernel mode, seconds.
    pub cpu: f64,
}

/// The Coordinator that is watched.
pub struct Watch {
    process: PathBuf,
    sealed: PathBuf,
}

impl Watch {
    /// That of a deployment.
    pub fn of(deployment: &Deployment<'_>) -> anyhow::Result<Self> {
        let watch = Self {
            process: Path::new("/proc").join(deployment.pid()),
            sealed: deployment.file("state"),
        };
        watch
            .look()
            .context("the Coordinator shields itself from inspection: only root may see its descriptors")?;
        Ok(watch)
    }

    /// What the process has now.
    pub fn look(&self) -> anyhow::Result<Process> {
        let read = |name| {
            let path = self.process.join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let descriptors = fs::read_dir(self.process.join("fd")).context("listing its descriptors")?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Process::parse(
            &read("status")?,
            &read("stat")?,
            descriptors.count() as u64,
            ticks,
        )
        .context("/proc is not as expected")
    }

    /// What is seen now, and what the load came to, as `marblebench mix` tells it.
    pub fn sample(&self, told: &Value, before: Option<&Sample>) -> anyhow::Result<Sample> {
        let count = |of: &Value, name| number(of, name).map(|number| number as u64);
        let mut parts = BTreeMap::new();
        let told_parts = told
            .get("parts")
            .and_then(Value::as_object)
            .context("no parts were told")?;
        for (name, part) in told_parts {
            let part = [
                count(part, "done")?,
                count(part, "p50Micros")?,
                count(part, "p99Micros")?,
            ];
            parts.insert(name.clone(), part);
        }
        let activations: u64 = parts
            .iter()
            .filter(|(name, _)| name.starts_with("activation"))
            .map(|(_, [done, ..])| done)
            .sum();
        let failed = told.get("failed").and_then(Value::as_array);
        let mut sealed = 0;
        for file in fs::read_dir(&self.sealed).context("listing the seal directory")? {
            // A draft may have got its name meanwhile.
            sealed += file?.metadata().map_or(0, |file| file.len());
        }
        Ok(Sample {
            process: self.look()?,
            sealed,
            activations: before.map_or(0, |before| before.activations) + activations,
            failures: count(told, "failures")?,
            failed: failed
                .into_iter()
                .flatten()
                .filter_map(|what| what.as_str().map(str::to_owned))
                .collect(),
            metrics: count(told, "metricsBytes")?,
            log: count(told, "logBytes")?,
            parts,
        })
    }
}

impl Process {
    fn parse(status: &str, stat: &str, descriptors: u64, ticks: f64) -> anyhow::Result<Self> {
        let of_status = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.with_context(|| format!("there is no {name}"))?;
            Ok(value.trim().trim_end_matches(" kB").parse()?)
        };
        // The name of the program may hold anything; the fields are behind the last parenthesis.
        let Some((_, fields)) = stat.rsplit_once(')') else {
            bail!("stat has no name");
        };
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let mut time = || times.next().context("stat is short");
        Ok(Self {
            resident: of_status("VmRSS:")? << 10,
            anonymous: of_status("RssAnon:")? << 10,
            threads: of_status("Threads:")?,
            descriptors,
            cpu: (time()?? + time()??) as f64 / ticks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read() {
        let status = "Name:\tx\nVmRSS:\t   2000 kB\nRssAnon:\t    500 kB\nThreads:\t7\n";
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0";
        let process = Process::parse(status, stat, 9, 100.0).unwrap();
        let expected = Process {
            resident: 2_048_000,
            anonymous: 512_000,
            threads: 7,
            descriptors: 9,
            cpu: 3.0,
        };
        assert_eq!(process, expected);
        assert!(Process::parse("VmRSS:\t1 kB\n", stat, 9, 100.0).is_err());
        assert!(Process::parse(status, "7 (a) S", 9, 100.0).is_err());
    }

    #[test]
    fn descriptors_that_this_process_opens_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch {
            process: PathBuf::from("/proc/self"),
            sealed: folder.path().to_owned(),
        };
        let before = watch.look().unwrap();
        let files: Vec<_> = (0..100)
            .map(|number| fs::File::create(folder.path().join(number.to_string())).unwrap())
            .collect();
        fs::write(folder.path().join("0"), [0; 70]).unwrap();
        // Other tests open and close some meanwhile.
        assert!(watch.look().unwrap().descriptors >= before.descriptors + 50);
        let told = serde_json::json!({
            "failures": 1, "failed": ["a"], "metricsBytes": 5, "logBytes": 6,
            "parts": {
                "activation": {"done": 2, "p50Micros": 3, "p99Micros": 4},
                "activation, TDX": {"done": 1, "p50Micros": 3, "p99Micros": 4},
                "status": {"done": 9, "p50Micros": 3, "p99Micros": 4},
            },
        });
        let before = Sample {
            activations: 10,
            ..Sample::default()
        };
        let sample = watch.sample(&told, Some(&before)).unwrap();
        assert_eq!((sample.activations, sample.sealed, sample.failures), (13, 70, 1));
        assert_eq!(sample.parts["status"], [9, 3, 4]);
        drop(files);
        assert!(watch.sample(&serde_json::json!({}), None).is_err());
    }
}
