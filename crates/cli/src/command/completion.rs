//! `completion`

use anyhow::Result;
use clap::{Args, ValueEnum};
use clap_complete::Shell;

use crate::output::Output;

/// Arguments of `completion`.
#[derive(Args)]
pub struct Arguments {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Known,
}

/// Shells there is a script for.
#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let shell = match arguments.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::definition(), "marblerun", &mut script);
    output.bytes(script.trim_ascii_end())
}
