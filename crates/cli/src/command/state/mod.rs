//! `state …`

mod inspect;

use anyhow::Result;
use clap::Subcommand;

use crate::output::Output;

/// The second word.
#[derive(Subcommand)]
pub enum Command {
    /// Print what stands in clear in a sealed state
    Inspect(inspect::Arguments),
}

/// Runs a command.
pub fn run(command: &Command, output: &Output) -> Result<()> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments, output),
    }
}
