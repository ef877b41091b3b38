//! `secret …`

mod get;
mod set;

use anyhow::Result;
use clap::Subcommand;

use crate::flags::GlobalFlags;
use crate::output::Output;

/// The second word.
#[derive(Subcommand)]
pub enum Command {
    /// Print or save secrets
    Get(get::Arguments),
    /// Upload values of user-defined secrets
    Set(set::Arguments),
}

/// Runs a command.
pub fn run(command: &Command, flags: &GlobalFlags, output: &Output) -> Result<()> {
    match command {
        Command::Get(arguments) => get::run(arguments, flags, output),
        Command::Set(arguments) => set::run(arguments, flags, output),
    }
}
