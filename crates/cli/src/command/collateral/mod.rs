//! `collateral …`

mod fetch;
mod show;

use anyhow::Result;
use clap::Subcommand;

use crate::flags::GlobalFlags;
use crate::output::{Output, simulation};

/// The second word.
#[derive(Subcommand)]
pub enum Command {
    /// Fetch the collateral of a platform into a directory, for Coordinators and clients without a network
    Fetch(Box<fetch::Arguments>),
    /// Print what files of collateral are, until when they last and whether they are signed as they should be
    Show(show::Arguments),
}

/// Runs a command.
pub fn run(command: &Command, flags: &GlobalFlags, output: &Output) -> Result<()> {
    match command {
        Command::Fetch(arguments) => fetch::run(arguments, flags, output),
        Command::Show(arguments) => show::run(arguments, flags, output),
    }
}

/// Says that roots which everybody has the keys of are good enough here.
fn say_simulation() {
    simulation("collateral of the software TEE, whose keys everybody knows; it proves nothing");
}
