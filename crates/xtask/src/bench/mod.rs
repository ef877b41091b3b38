//! `cargo xtask bench`: what the Coordinator, built as it is shipped, costs; measured by `marblebench` against fresh
//! Coordinators, and written to `docs/performance.md` with curves and raw numbers.

mod curves;
pub mod deployment;
pub mod machine;
pub mod measures;
pub mod page;
mod svg;

use std::path::Path;

use anyhow::Context as _;

use deployment::Programs;

/// What `bench` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Fewer operations, and nothing is written: to see that everything can be measured
    #[arg(long)]
    quick: bool,
    /// Activations over which the memory of the Coordinator must not grow
    #[arg(long, default_value_t = 1_000_000)]
    activations: u64,
    /// How often each measure is repeated; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only the measures whose names contain this; nothing is written
    #[arg(long)]
    only: Option<String>,
}

/// How much is done for each number.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Operations of a usual measure.
    operations: u64,
    /// How often each measure is repeated; the median counts.
    rounds: usize,
    /// The largest deployment.
    largest: u64,
    /// Activations for the slope of memory.
    activations: u64,
}

/// One number beside its target.
pub struct Measure {
    /// `P1` and so on, as in the list of targets.
    pub number: &'static str,
    /// What was measured.
    pub what: String,
    /// What it may be.
    pub target: String,
    /// What it came to, for people.
    pub reached: String,
    /// Whether the target is met.
    pub met: bool,
    /// The numbers it was made of.
    pub raw: serde_json::Value,
}

/// Measures everything.
///
/// # Errors
/// A program cannot be built or started, or refuses an operation.
pub fn run(root: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let extent = if arguments.quick {
        Extent {
            operations: 200,
            rounds: 1,
            largest: 2_000,
            activations: 2_000,
        }
    } else {
        Extent {
            operations: 3_000,
            rounds: arguments.rounds.max(1),
            largest: 100_000,
            activations: arguments.activations,
        }
    };
    println!("Building the programs as they are shipped …");
    let programs = Programs::build(root)?;
    let machine = machine::describe(root)?;
    println!("{machine}\n");
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| name.contains(only));
    let mut measured = Vec::new();
    for (name, measure) in measures::ALL {
        if wanted(name) {
            let results = measure(&programs, extent).with_context(|| format!("measuring {name}"))?;
            for result in &results {
                println!("{}", page::line(result));
            }
            measured.extend(results);
        }
    }
    let mut drawn = Vec::new();
    if wanted("curves") {
        drawn = curves::measure(&programs, extent).context("measuring the curves")?;
    }
    if arguments.quick || arguments.only.is_some() {
        return Ok(());
    }
    page::write(root, &machine, &measured, &drawn)
}
