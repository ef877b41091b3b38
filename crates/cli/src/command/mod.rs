//! The commands, one file each.

mod attest;
mod certificate;
mod collateral;
mod completion;
mod manifest;
mod quote;
mod recover;
mod recover_with_signature;
mod secret;
mod state;
mod status;
mod top;
mod version;

use anyhow::Result;
use clap::Subcommand;

use crate::flags::GlobalFlags;
use crate::output::Output;

/// The first word.
#[derive(Subcommand)]
pub enum Command {
    /// Print the state of the Coordinator
    Status(status::Arguments),
    /// Save the Coordinator's certificates
    #[command(subcommand, arg_required_else_help = true)]
    Certificate(certificate::Command),
    /// Verify evidence offline and explain what comes of it
    #[command(subcommand, arg_required_else_help = true)]
    Attest(attest::Command),
    /// Set, update, read and check manifests
    #[command(subcommand, arg_required_else_help = true)]
    Manifest(manifest::Command),
    /// Read and write secrets as a user
    #[command(subcommand, arg_required_else_help = true)]
    Secret(secret::Command),
    /// Hand in a recovery secret, decrypted and signed with your recovery key
    Recover(recover::Arguments),
    /// Hand in a recovery secret that was signed elsewhere, and what is needed for that
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    RecoverWithSignature(recover_with_signature::Arguments),
    /// Fetch and look at collateral: what evidence is verified with
    #[command(subcommand, arg_required_else_help = true)]
    Collateral(collateral::Command),
    /// Look at evidence of TEEs
    #[command(subcommand, arg_required_else_help = true)]
    Quote(quote::Command),
    /// Export the state, look at sealed states
    #[command(subcommand, arg_required_else_help = true)]
    State(state::Command),
    /// Show what a Coordinator is busy with, as its monitoring address tells
    Top(top::Arguments),
    /// Print the version of this program and of the Coordinator in the cluster
    Version,
    /// Print a script that completes commands and flags in a shell
    Completion(completion::Arguments),
}

/// Runs a command.
pub fn run(command: &Command, flags: &GlobalFlags, output: &Output) -> Result<()> {
    match command {
        Command::Status(arguments) => status::run(arguments, flags, output),
        Command::Certificate(command) => certificate::run(command, flags, output),
        Command::Attest(command) => attest::run(command, flags, output),
        Command::Manifest(command) => manifest::run(command, flags, output),
        Command::Secret(command) => secret::run(command, flags, output),
        Command::Recover(arguments) => recover::run(arguments, flags, output),
        Command::RecoverWithSignature(arguments) => recover_with_signature::run(arguments, flags, output),
        Command::Collateral(command) => collateral::run(command, flags, output),
        Command::Quote(command) => quote::run(command, output),
        Command::State(command) => state::run(command, flags, output),
        Command::Top(arguments) => top::run(arguments, output),
        Command::Version => version::run(output),
        Command::Completion(arguments) => completion::run(arguments, output),
    }
}
