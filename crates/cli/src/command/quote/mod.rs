//! `quote …`

mod show;

use anyhow::Result;
use clap::Subcommand;

use crate::output::Output;

/// The second word.
#[derive(Subcommand)]
pub enum Command {
    /// Print the fields of evidence, without verifying it
    Show(show::Arguments),
}

/// Runs a command.
pub fn run(command: &Command, output: &Output) -> Result<()> {
    match command {
        Command::Show(arguments) => show::run(arguments, output),
    }
}
