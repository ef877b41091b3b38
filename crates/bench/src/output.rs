//! Results, on standard output.

use std::io::{ErrorKind, Write as _, stdout};

use anyhow::{Context as _, Result};

/// Prints a text and ends its line. Whoever reads no further has all that he wanted: then the program ends.
///
/// # Errors
/// Standard output takes nothing, for another reason.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = stdout().lock();
    let printed = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        printed => printed.context("cannot write to standard output"),
    }
}
