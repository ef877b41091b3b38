//! `manifest update …`

mod cancel;
mod get;
mod send;

use anyhow::Result;
use clap::Subcommand;

use crate::flags::GlobalFlags;
use crate::output::Output;

/// The third word.
#[derive(Subcommand)]
pub enum Command {
    /// Update the manifest: raise security versions of packages, or propose a whole new one
    Apply(send::Arguments),
    /// Acknowledge the pending update
    Acknowledge(send::Arguments),
    /// Drop the pending update
    Cancel(cancel::Arguments),
    /// Print or save the pending manifest
    Get(get::Arguments),
}

/// Runs a command.
pub fn run(command: &Command, flags: &GlobalFlags, output: &Output) -> Result<()> {
    match command {
        Command::Apply(arguments) => send::run(send::What::Proposal, arguments, flags, output),
        Command::Acknowledge(arguments) => send::run(send::What::Acknowledgement, arguments, flags, output),
        Command::Cancel(arguments) => cancel::run(arguments, flags, output),
        Command::Get(arguments) => get::run(arguments, flags, output),
    }
}
