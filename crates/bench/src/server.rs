//! What the load costs the server: CPU time of its process, from its clock (clock_getcpuclockid(3)), and memory, from
//! `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::ClockId;
use nix::unistd::Pid;

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
        let pid = self.pid;
        let clock = i32::try_from(pid)
            .map_err(anyhow::Error::from)
            .and_then(|pid| Ok(ClockId::pid_cpu_clock_id(Pid::from_raw(pid))?.now()?));
        let clock =
            clock.with_context(|| format!("there is no process {pid} whose CPU time could be read"))?;
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let page = rustix::param::page_size() as u64;
        Ok(Usage {
            cpu: Duration::from(clock),
            resident: resident(&stat, page).with_context(|| format!("{path} is not as expected"))?,
        })
    }
}

fn resident(stat: &str, page: u64) -> Option<u64> {
    // The name of the program may hold anything; the fields are behind the last parenthesis.
    let field = stat.rsplit_once(')')?.1.split_whitespace().nth(21)?;
    Some(field.parse::<u64>().ok()? * page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 1000 1000000 300 18446744073709551615 1";
        assert_eq!(resident(stat, 4096), Some(300 * 4096));
        assert_eq!(resident("7 (a) S 1", 4096), None);
    }

    #[test]
    fn this_process_uses_something_and_none_has_the_last_id() {
        let usage = Server::watch(std::process::id()).unwrap().usage().unwrap();
        assert!(usage.resident > 1 << 20);
        assert!(usage.cpu > Duration::ZERO && usage.cpu < Duration::from_secs(3600));
        assert!(Server::watch(u32::MAX).is_err());
    }
}
