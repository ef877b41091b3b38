//! What was measured, and what on.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Processors, memory, kernel, load and the commit of the program, in one line.
pub fn describe(root: &Path) -> anyhow::Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let processors = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap_or_default();
    let system = rustix::system::uname();
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!(
        "{processors} × {model}, {} GiB, {} {}, load {load} before the start; commit {}",
        kib >> 20,
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        commit(root).unwrap_or_else(|| "unknown".to_owned()),
    ))
}

/// The commit that is checked out, and whether files differ from it; `None` where git does not know.
fn commit(root: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(root)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let suffix = if changed.is_empty() { "" } else { ", with changes" };
    Some(commit + suffix)
}
