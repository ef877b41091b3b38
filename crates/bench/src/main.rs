//! `marblebench`: load for Coordinators, and what it costs them. Works against any server that speaks the Marble API or
//! the client API.

mod activate;
mod compare;
mod driver;
mod hold;
mod manifest;
mod mix;
mod output;
mod report;
mod rest;
mod server;
mod tls;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "marblebench",
    version,
    about = "Load for Coordinators, and what it costs them"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Activate marbles, each with a UUID of its own
    Activate(activate::Arguments),
    /// Ask the client API
    Rest(rest::Arguments),
    /// Open connections and do nothing on them, until standard input ends
    Hold(hold::Arguments),
    /// Put everything that a Coordinator meets on a fresh one, steadily; one line of JSON a second
    Mix(mix::Arguments),
    /// Print a manifest of a given size
    Manifest(manifest::Arguments),
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let run = || -> anyhow::Result<()> {
        match command_line.command {
            Command::Manifest(arguments) => manifest::print(&arguments),
            Command::Activate(arguments) => {
                runtime(arguments.load.rate.is_some())?.block_on(activate::run(arguments))
            }
            Command::Hold(arguments) => runtime(false)?.block_on(hold::run(arguments)),
            Command::Mix(arguments) => runtime(false)?.block_on(mix::run(arguments)),
            Command::Rest(arguments) => {
                runtime(arguments.load.rate.is_some())?.block_on(rest::run(arguments))
            }
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The threads of a load. One that keeps a rate (`--rate`) looks for how long the server takes, and is not to add to it by
/// waiting for its own turn: with short slices it takes the processor when an answer is there.
fn runtime(keeps_a_rate: bool) -> std::io::Result<tokio::runtime::Runtime> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if keeps_a_rate {
        marblerun_scheduling::short_slices();
        threads.on_thread_start(marblerun_scheduling::short_slices);
    }
    threads.enable_all().build()
}
