//! `collateral show`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use marblerun_attestation::{ProductionRoots, SimulationRoots, TrustRoots, UnixSeconds};
use marblerun_collateral::{Inspected, Item, system_clock};
use serde_json::{Value, json};

use super::say_simulation;
use crate::flags::GlobalFlags;
use crate::output::Output;

/// Arguments of `show`.
#[derive(Args)]
pub struct Arguments {
    /// Files, or directories of files
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// Prints what each file is. Fails if one cannot be read or does not hold below the pinned roots; being out of date is
/// only said.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    if flags.accept_simulation {
        say_simulation();
        show(arguments, &SimulationRoots::development(), output)
    } else {
        show(arguments, &ProductionRoots::pinned(), output)
    }
}

fn show<R: TrustRoots>(arguments: &Arguments, roots: &R, output: &Output) -> Result<()> {
    let mut read = Vec::new();
    for path in &arguments.paths {
        for path in files(path)? {
            let item = Item::open(&path);
            read.push((path, item));
        }
    }
    if read.is_empty() {
        bail!("no files of collateral found");
    }
    let items: Vec<Item> = read.iter().filter_map(|(_, item)| item.clone().ok()).collect();
    let now = (system_clock())();
    let mut text = String::new();
    let mut values = Vec::new();
    let mut bad: usize = 0;
    for (path, item) in &read {
        let (lines, value, good) = match item {
            Ok(item) => described(path, &item.inspect(&items, roots), now),
            Err(why) => (
                format!("{}\n  not readable: {why}", path.display()),
                json!({"file": path.to_string_lossy(), "error": why}),
                false,
            ),
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&lines);
        values.push(value);
        bad += usize::from(!good);
    }
    output.result(&text, &Value::Array(values))?;
    if bad > 0 {
        bail!("{bad} of {} files cannot be used", read.len());
    }
    Ok(())
}

/// The file, or what in the directory a Coordinator would read, or name in a warning.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", path.display());
    if !path.metadata().with_context(cannot)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        if Item::is_name(&entry.file_name().to_string_lossy()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn described(path: &Path, inspected: &Inspected, now: UnixSeconds) -> (String, Value, bool) {
    let status = inspected.status(now);
    let signed = match &inspected.signed {
        Ok(()) => "verified".to_owned(),
        Err(why) => format!("not verified: {why}"),
    };
    let mut text = format!(
        "{}\n  {}: {}\n  issued {}, next update {}: {status}\n  signatures {signed}",
        path.display(),
        inspected.what,
        inspected.platform,
        inspected.issued,
        inspected.until,
    );
    for (name, from, until) in &inspected.parts {
        // Writing to a string does not fail.
        let _ = write!(text, "\n    {name}: {from} to {until}");
    }
    let parts: Vec<Value> = inspected
        .parts
        .iter()
        .map(
            |(name, from, until)| json!({"name": name, "from": from.to_string(), "until": until.to_string()}),
        )
        .collect();
    let value = json!({
        "file": path.to_string_lossy(),
        "what": inspected.what,
        "platform": inspected.platform,
        "issued": inspected.issued.to_string(),
        "nextUpdate": inspected.until.to_string(),
        "status": status,
        "signatures": signed,
        "parts": parts,
    });
    (text, value, inspected.signed.is_ok())
}
