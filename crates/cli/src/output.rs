//! What is printed where: results and notices on standard output, errors and warnings on standard error.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result};
use comfy_table::{ContentArrangement, Table, presets};
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
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
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
    fn tables() {
        let rows = table(&json!([{"a": 1, "b": "x"}, {"a": null, "c": [1]}]));
        for part in ["a", "b", "c", "x", "[1]"] {
            assert!(rows.contains(part), "{rows}");
        }
        assert!(table(&json!({"code": 2})).contains("code"));
        assert!(table(&json!("x")).contains('x'));
    }
}
