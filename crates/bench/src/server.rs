//! What the load costs the server: CPU time and memory of its process, from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A process that is watched.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    pid: u32,
}

/// What a process has used up so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, of all its threads, in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory, bytes.
    pub resident: u64,
}

impl Server {
    /// The process with this id.
    ///
    /// # Errors
    /// There is none.
    pub fn watch(pid: u32) -> Result<Self> {
        let server = Self { pid };
        server.usage()?;
        Ok(server)
    }

    /// What it has used up so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> Result<Usage> {
        let path = format!("/proc/{}/stat", self.pid);
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let ticks = rustix::param::clock_ticks_per_second();
        let page = rustix::param::page_size() as u64;
        parse(&stat, ticks, page).with_context(|| format!("{path} is not as expected"))
    }
}

fn parse(stat: &str, ticks_per_second: u64, page: u64) -> Option<Usage> {
    // The name of the program may hold anything; the fields are behind the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    Some(Usage {
        cpu: Duration::from_nanos(ticks * (1_000_000_000 / ticks_per_second.max(1))),
        resident: number(21)? * page,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 1000 1000000 300 18446744073709551615 1";
        let usage = parse(stat, 100, 4096).unwrap();
        assert_eq!(usage.cpu, Duration::from_secs(3));
        assert_eq!(usage.resident, 300 * 4096);
        assert_eq!(parse("7 (a) S 1", 100, 4096), None);
    }

    #[test]
    fn this_process_uses_something_and_none_has_the_last_id() {
        let usage = Server::watch(std::process::id()).unwrap().usage().unwrap();
        assert!(usage.resident > 1 << 20);
        assert!(Server::watch(u32::MAX).is_err());
    }
}
