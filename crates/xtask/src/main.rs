//! What people run on this repository: `cargo xtask demo` shows a deployment, `cargo xtask bench` measures one, `cargo xtask crash` tries to
//! make it lose something, `cargo xtask hostile` has slow and hostile peers at a Coordinator, `cargo xtask soak` sees that
//! nothing grows under a load that lasts, `cargo xtask fuzz` feeds the fuzz targets, `cargo xtask tidy` checks the rules of the house that no compiler checks.

mod bench;
mod crash;
mod demo;
mod fuzz;
mod hostile;
mod instructions;
mod soak;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build, start a Coordinator and two marbles in a temporary folder, show what they do, clean up
    Demo {
        /// Leave everything running and print commands to try
        #[arg(long)]
        keep: bool,
    },
    /// Measure what the Coordinator costs, and write docs/performance.md
    Bench(bench::Arguments),
    /// Count instructions of what the rules do, and hold them against the recorded numbers; needs valgrind
    Instructions {
        /// Record the numbers instead
        #[arg(long)]
        record: bool,
    },
    /// Try to make the Coordinator lose something: kills, full disks, bit rot, lost files, clocks, copies
    Crash(crash::Arguments),
    /// Build the Coordinator as it is shipped, and measure what slow and hostile peers can do to it (ten minutes)
    Hostile {
        /// Fewer peers, and nothing that takes long to wait for (one minute)
        #[arg(long)]
        quick: bool,
    },
    /// Put a steady mixed load on the Coordinator, built as it is shipped, and see that nothing grows
    Soak(soak::Arguments),
    /// Check the architecture: dependency arrows, file lengths, forbidden calls and words, links
    Tidy,
    /// Feed every fuzz target, or those named, after a planted fault was found; installs cargo-fuzz if need be
    Fuzz {
        /// How long each is fed
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Keep inputs that reach new code in fuzz/corpus
        #[arg(long)]
        keep: bool,
        /// Targets; all when none is named
        targets: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo { keep } => demo::run(&repository_root(), keep),
        Task::Bench(arguments) => bench::run(&repository_root(), &arguments),
        Task::Instructions { record } => instructions::run(&repository_root(), record),
        Task::Crash(arguments) => crash::run(&repository_root(), &arguments),
        Task::Hostile { quick } => hostile::run(&repository_root(), quick),
        Task::Soak(arguments) => soak::run(&repository_root(), &arguments),
        Task::Tidy => tidy::run(&repository_root()),
        Task::Fuzz {
            seconds,
            keep,
            targets,
        } => fuzz::run(
            &repository_root(),
            &fuzz::Options {
                seconds,
                targets,
                keep,
            },
        ),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace: two levels above this crate.
fn repository_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_path_buf()
}
