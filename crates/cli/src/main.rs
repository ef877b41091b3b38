//! `marblerun`, the command line of MarbleRun (`spec/09`).

mod command;
mod evidence;
mod evidence_file;
mod files;
mod flags;
mod manifest_file;
mod output;
mod recovery_data;
mod recovery_secret;
mod secret_file;
mod session;
mod user;
mod yaml;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::command::Command;
use crate::flags::GlobalFlags;
use crate::output::{Output, error_line};

/// Manage a MarbleRun Coordinator: verify it, set and update manifests, read and write secrets.
#[derive(Parser)]
#[command(
    name = "marblerun",
    version = concat!("v", env!("CARGO_PKG_VERSION")),
    args_override_self = true,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = false
)]
struct Arguments {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let parsed = Arguments::command().try_get_matches().and_then(|matches| {
        Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut Arguments::command()))
    });
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let output = Output::new(arguments.flags.format);
    match command::run(&arguments.command, &arguments.flags, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error_line(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The command line itself, for completion.
pub(crate) fn definition() -> clap::Command {
    Arguments::command()
}

/// Help goes to standard output and is no error; everything else is one, with exit code 1 as all errors.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            anstream::print!("{}", error.render().ansi());
            ExitCode::SUCCESS
        }
        _ => {
            let text = error.render().to_string();
            error_line(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            ExitCode::FAILURE
        }
    }
}
