//! `manifest …`

pub mod check;
mod get;
mod log;
mod schema;
mod set;
mod signature;
mod update;
mod verify;

use anyhow::Result;
use clap::Subcommand;

use crate::flags::GlobalFlags;
use crate::output::Output;

/// The second word.
#[derive(Subcommand)]
pub enum Command {
    /// Set the manifest
    Set(set::Arguments),
    /// Print or save the manifest in force
    Get(get::Arguments),
    /// Verify that a manifest is in force, and pin the Coordinator
    Verify(verify::Arguments),
    /// Print the SHA-256 of a manifest as it would be uploaded
    Signature(signature::Arguments),
    /// Check a manifest without a Coordinator
    Check(check::Arguments),
    /// Print the JSON Schema of manifests, for editors and other tools
    Schema,
    /// Print or save the update log
    Log(log::Arguments),
    /// Propose, acknowledge, cancel and read updates of the manifest
    #[command(subcommand, arg_required_else_help = true)]
    Update(update::Command),
}

/// Runs a command.
pub fn run(command: &Command, flags: &GlobalFlags, output: &Output) -> Result<()> {
    match command {
        Command::Set(arguments) => set::run(arguments, flags, output),
        Command::Get(arguments) => get::run(arguments, flags, output),
        Command::Verify(arguments) => verify::run(arguments, flags, output),
        Command::Signature(arguments) => signature::run(arguments, output),
        Command::Check(arguments) => check::run(arguments, output),
        Command::Schema => schema::run(output),
        Command::Log(arguments) => log::run(arguments, flags, output),
        Command::Update(command) => update::run(command, flags, output),
    }
}
