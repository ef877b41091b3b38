//! `state …`

mod export;
mod inspect;

use anyhow::Result;
use clap::Subcommand;

use crate::flags::GlobalFlags;
use crate::output::Output;

/// The second word.
#[derive(Subcommand)]
pub enum Command {
    /// Save the state in the format of the original, to move back to it
    Export(export::Arguments),
    /// Print what stands in clear in a sealed state
    Inspect(inspect::Arguments),
}

/// Runs a command.
pub fn run(command: &Command, flags: &GlobalFlags, output: &Output) -> Result<()> {
    match command {
        Command::Export(arguments) => export::run(arguments, flags, output),
        Command::Inspect(arguments) => inspect::run(arguments, output),
    }
}
