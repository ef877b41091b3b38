//! `attest …`

mod explain;

use anyhow::Result;
use clap::Subcommand;

use crate::flags::GlobalFlags;
use crate::output::Output;

/// The second word.
#[derive(Subcommand)]
pub enum Command {
    /// Verify evidence and print, rule by rule, whether a package of a manifest accepts it
    Explain(explain::Arguments),
}

/// Runs a command.
pub fn run(command: &Command, flags: &GlobalFlags, output: &Output) -> Result<()> {
    match command {
        Command::Explain(arguments) => explain::run(arguments, flags, output),
    }
}
