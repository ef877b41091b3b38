//! What is printed where: results and notices on standard output, errors and warnings on standard error.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result};
use comfy_table::{ContentArrangement, Table, presets};
use marblerun_client::is_hidden;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::flags::Format;

/// Prints in the form that was asked for.
pub struct Output {
    format: Option<Format>,
}

impl Output {
    /// Prints as `--format` says; `None`: the text that scripts know.
    pub fn new(format: Option<Format>) -> Self {
        Self { format }
    }

    /// Prints the result of a command: `text` in the form that scripts know, `value` in the others.
    pub fn result(&self, text: &str, value: &Value) -> Result<()> {
        match self.format {
            None => print(text.as_bytes()),
            Some(Format::Json) => print(&serde_json::to_vec_pretty(value)?),
            Some(Format::Table) => print(table(value).as_bytes()),
        }
    }

    /// Prints a result that has one form only.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        print(bytes)
    }

    /// Whether `--format` asks for JSON.
    pub fn is_json(&self) -> bool {
        self.format == Some(Format::Json)
    }

    /// Prints a result that holds secrets, past all buffers that are not wiped.
    pub fn secret(&self, bytes: &Zeroizing<Vec<u8>>) -> Result<()> {
        let tamed = io::stdout().is_terminal().then(|| Zeroizing::new(tamed(bytes)));
        let bytes = tamed.as_ref().unwrap_or(bytes);
        io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map(File::from)
            .and_then(|mut stdout| stdout.write_all(bytes))
            .context("cannot write to standard output")
    }

    /// Prints what happened, beside the result.
    pub fn notice(&self, text: &str) -> Result<()> {
        match self.format {
            None => print(text.as_bytes()),
            Some(_) => writeln!(anstream::stderr(), "{text}").context("cannot write to standard error"),
        }
    }
}

/// Prints a warning to standard error.
pub fn warning(text: &str) {
    let style = AnsiColor::Yellow.on_default().bold();
    say("Warning", style, text);
}

/// Prints that nothing here is protected, so that nobody can miss it.
pub fn simulation(text: &str) {
    let style = AnsiColor::Red.on_default().bold();
    say("SIMULATION", style, text);
}

/// Prints an error to standard error.
pub fn error_line(text: &str) {
    let style = AnsiColor::Red.on_default().bold();
    say("Error", style, text);
}

/// Nobody is left to tell when standard error is gone.
fn say(what: &str, style: Style, text: &str) {
    let _ = writeln!(anstream::stderr(), "{style}{what}:{style:#} {text}");
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let tamed = stdout.is_terminal().then(|| tamed(bytes));
    stdout
        .write_all(tamed.as_deref().unwrap_or(bytes))
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}

/// What a terminal may be shown: a server that nobody has verified must not move the cursor, hide lines or write to the
/// clipboard. Into files and pipes everything goes as it is.
fn tamed(bytes: &[u8]) -> Vec<u8> {
    // A replacement character has three bytes; no text that is replaced needs more.
    let mut tamed = Vec::with_capacity(bytes.len().saturating_mul(3));
    let mut put = |character: char| {
        let shown = match character {
            '\n' | '\t' => character,
            other if is_hidden(other) => char::REPLACEMENT_CHARACTER,
            other => other,
        };
        tamed.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
    };
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(&mut put);
        if !chunk.invalid().is_empty() {
            put(char::REPLACEMENT_CHARACTER);
        }
    }
    tamed
}

/// An object becomes a row for each field, a list of objects a column for each field.
fn table(value: &Value) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                table.add_row([name.clone(), cell(field)]);
            }
        }
        Value::Array(rows) => {
            let mut columns: Vec<&String> = Vec::new();
            for name in rows
                .iter()
                .filter_map(Value::as_object)
                .flat_map(serde_json::Map::keys)
            {
                if !columns.contains(&name) {
                    columns.push(name);
                }
            }
            if !columns.is_empty() {
                table.set_header(columns.iter().map(|name| name.as_str()).collect::<Vec<_>>());
            }
            for row in rows {
                match row.as_object() {
                    Some(row) => table.add_row(
                        columns
                            .iter()
                            .map(|name| row.get(*name).map_or_else(String::new, cell))
                            .collect::<Vec<_>>(),
                    ),
                    None => table.add_row([cell(row)]),
                };
            }
        }
        scalar => {
            table.add_row([cell(scalar)]);
        }
    }
    table.trim_fmt()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replies_cannot_drive_a_terminal() {
        let evil = b"ok\x1b]0;title\x07\x1b[2J\r\nline\tend \xc2\x9b31m \xff \x7f \xc3\xa9";
        let shown = String::from_utf8(tamed(evil)).unwrap();
        assert_eq!(
            shown,
            "ok\u{fffd}]0;title\u{fffd}\u{fffd}[2J\u{fffd}\nline\tend \u{fffd}31m \u{fffd} \u{fffd} \u{e9}"
        );
        let disguised = "a\u{202e}b\u{2066}c\u{200f}d\u{200b}".as_bytes();
        assert_eq!(
            String::from_utf8(tamed(disguised)).unwrap(),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{200b}",
            "nor show text in another order than it has"
        );
        let worst = [0xff; 100];
        assert!(
            tamed(&worst).len() <= worst.len() * 3,
            "secrets are never moved to a larger buffer"
        );
    }

    #[test]
    fn tables() {
        let rows = table(&json!([{"a": 1, "b": "x"}, {"a": null, "c": [1]}]));
        for part in ["a", "b", "c", "x", "[1]"] {
            assert!(rows.contains(part), "{rows}");
        }
        assert!(table(&json!({"code": 2})).contains("code"));
        assert!(table(&json!("x")).contains('x'));
    }
}
