//! `cargo xtask soak`: a steady mixed load on a fresh Coordinator, built as it is shipped, in strict simulation, so that
//! evidence is verified. Nothing may grow with it but what has to, and afterwards everything is as it was.
//!
//! `marblebench mix` puts on the load and says each second what it came to; at that moment the process is looked at.
//! Before it counts, the load is at fault on purpose, and both faults have to be found.

mod end;
mod judge;
mod robust;
mod sample;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::bench::deployment::{Deployment, Programs};
use crate::bench::{Measure, machine, page};
use judge::Bounds;
use sample::{Sample, Watch};

/// What `soak` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long the load lasts, a quarter of which is to warm up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "quick")]
    minutes: u64,
    /// 40 seconds of load, and bounds that hold on a busy machine
    #[arg(long)]
    quick: bool,
    /// Times the usual load of about 160 activations and 100 other requests a second
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Write numbers and samples to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder with marblerun-coordinator and marblebench, instead of building them
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| (0.01..=100.0).contains(scale));
    scale.ok_or_else(|| "expected 0.01 to 100".to_owned())
}

/// Refused requests are no errors of the Coordinator: what is logged as one is.
const FLAGS: [&str; 5] = [
    "--simulation-strict",
    "--prometheus-addr",
    "127.0.0.1:0",
    "--http-error-log-level",
    "info",
];
/// Seconds with faults, half of them to warm up: until those whom the Coordinator sends away after ten seconds are as
/// many as they will be.
const PLANTED_SECONDS: u64 = 26;

/// Runs it.
///
/// # Errors
/// A program cannot be built or started, a number misses its bound, or a planted fault is not found.
pub fn run(root: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(path) = &arguments.json {
        // It would be a pity about the time if it could not be written at the end.
        std::fs::write(path, "").with_context(|| format!("writing {}", path.display()))?;
    }
    let programs = match &arguments.programs {
        Some(folder) => Programs::found(folder)?,
        None => {
            println!("Building the programs as they are shipped …");
            Programs::build(root)?
        }
    };
    let machine = machine::describe(root)?;
    println!("{machine}\n");
    find_planted(&programs)?;
    let (seconds, bounds) = match arguments.quick {
        true => (40, Bounds::QUICK),
        false => (arguments.minutes * 60, Bounds::FULL),
    };
    let scale = arguments.scale.to_string();
    println!("{seconds} seconds of load:");
    let mut deployment = Deployment::start(&programs, &FLAGS)?;
    let watch = Watch::of(&deployment)?;
    let before = watch.look()?;
    let samples = load(&deployment, &watch, seconds, &["--scale", &scale])?;
    let mut measures = judge::all(judge::after_warm_up(&samples), &bounds, arguments.scale);
    measures.extend(end::look(&mut deployment, &watch, before)?);
    for measure in &measures {
        println!("{}", page::line(measure));
    }
    if let Some(path) = &arguments.json {
        let measured: Vec<_> = measures.iter().map(page::document).collect();
        let document =
            json!({"machine": machine, "seconds": seconds, "measures": measured, "samples": samples});
        std::fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let missed: Vec<&str> = missed(&measures).collect();
    if !missed.is_empty() {
        bail!("missed: {}", missed.join("; "));
    }
    Ok(())
}

/// The load is at fault: it keeps connections, and one of its requests is answered otherwise than it expects.
fn find_planted(programs: &Programs) -> anyhow::Result<()> {
    println!("{PLANTED_SECONDS} seconds of load with two faults, which have to be found:");
    let deployment = Deployment::start(programs, &FLAGS)?;
    let watch = Watch::of(&deployment)?;
    let samples = load(&deployment, &watch, PLANTED_SECONDS, &["--planted"])?;
    let (_, judged) = samples.split_at(samples.len() / 2);
    for measure in [judge::descriptors(judged), judge::failures(judged)] {
        println!("{}", page::line(&measure));
        if measure.met {
            bail!("the planted fault was not found: {}", measure.what);
        }
    }
    println!();
    Ok(())
}

/// Puts the load on, and looks each second.
fn load(
    deployment: &Deployment<'_>,
    watch: &Watch,
    seconds: u64,
    arguments: &[&str],
) -> anyhow::Result<Vec<Sample>> {
    let seconds_text = seconds.to_string();
    let mut bench = Ending(deployment.mix(&[&["--seconds", &seconds_text], arguments].concat())?);
    let output = bench.0.stdout.take().context("marblebench has no output")?;
    let mut samples = Vec::new();
    for line in BufReader::new(output).lines() {
        let told = serde_json::from_str(&line?).context("what marblebench says")?;
        let sample = watch.sample(&told, samples.last()).with_context(|| {
            let log = std::fs::read_to_string(deployment.file("log")).unwrap_or_default();
            format!(
                "watching the Coordinator, whose log ends with {:?}",
                log.lines().last()
            )
        })?;
        samples.push(sample);
    }
    let status = bench.0.wait()?;
    if !status.success() || samples.len() as u64 != seconds {
        bail!(
            "marblebench ended with {status} after {} of {seconds} seconds",
            samples.len()
        );
    }
    Ok(samples)
}

/// What was missed, in words.
fn missed(measures: &[Measure]) -> impl Iterator<Item = &str> {
    measures
        .iter()
        .filter(|measure| !measure.met)
        .map(|measure| measure.what.as_str())
}

/// A child that ends with this.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
