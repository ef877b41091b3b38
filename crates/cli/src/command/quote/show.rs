//! `quote show`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use marblerun_attestation::EvidenceKind;
use marblerun_attestation::inspect::{Item, inspect};
use serde_json::{Map, Value, json};

use crate::evidence_file;
use crate::output::{self, Output};

const UNVERIFIED: &str =
    "This is UNVERIFIED: anyone can write such evidence. What it says is not true because it is here.";

/// Arguments of `quote show`.
#[derive(Args)]
pub struct Arguments {
    /// File with evidence of SGX, TDX or SEV-SNP: as it is, in hex, in base64, or in a certificate; `-`: standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints every field, as far as there are any. Nothing is verified and nothing is fetched. Fails for what is no evidence
/// of a known format.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let content = evidence_file::open(&arguments.file)?;
    let form = content.form;
    let items = inspect(&content.bytes);
    output::warning(UNVERIFIED);
    let mut text = format!("verified: no\nform: {form}");
    lines(&mut text, &items, 0);
    output.result(
        &text,
        &json!({"verified": false, "form": form, "evidence": value(&items)}),
    )?;
    match content.recognise()? {
        (_, EvidenceKind::Empty) => bail!("there is no evidence in it"),
        _ => Ok(()),
    }
}

fn lines(text: &mut String, items: &[Item], depth: usize) {
    for item in items {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
        text.push_str(&item.name);
        text.push(':');
        if let Some(value) = &item.value {
            text.push(' ');
            text.push_str(value);
        }
        lines(text, &item.items, depth + 1);
    }
}

fn value(items: &[Item]) -> Value {
    let fields = items.iter().map(|item| {
        let value = match &item.value {
            Some(text) => Value::from(text.as_str()),
            None => value(&item.items),
        };
        (item.name.clone(), value)
    });
    Value::Object(fields.collect::<Map<_, _>>())
}
