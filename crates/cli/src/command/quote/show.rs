//! `quote show`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use clap::Args;
use marblerun_attestation::inspect::{Item, inspect};
use serde_json::{Map, Value, json};

use crate::output::{self, Output};

/// Largest file that is read, in bytes: the largest evidence in hex, with line breaks.
const LARGEST: u64 = 256 * 1024;

const UNVERIFIED: &str =
    "This is UNVERIFIED: anyone can write such evidence. What it says is not true because it is here.";

/// Arguments of `quote show`.
#[derive(Args)]
pub struct Arguments {
    /// File with evidence of SGX, TDX or SEV-SNP, binary, in hex or in base64; `-`: standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints every field. Nothing is verified and nothing is fetched.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let content = read(&arguments.file)?;
    let (form, evidence) = decode(&content);
    let items = inspect(&evidence);
    output::warning(UNVERIFIED);
    let mut text = format!("verified: no\nform: {form}");
    lines(&mut text, &items, 0);
    output.result(
        &text,
        &json!({"verified": false, "form": form, "evidence": value(&items)}),
    )
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let (source, name): (Box<dyn Read>, _) = if path == Path::new("-") {
        (Box::new(io::stdin()), "standard input".to_owned())
    } else {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        (Box::new(file), name)
    };
    let mut content = Vec::new();
    source
        .take(LARGEST + 1)
        .read_to_end(&mut content)
        .with_context(|| format!("cannot read {name}"))?;
    if content.len() as u64 > LARGEST {
        bail!("{name} has more than {LARGEST} bytes: this is no evidence");
    }
    Ok(content)
}

/// Text of hex digits or in base64 is what it stands for: no evidence in binary is made of such characters alone.
fn decode(content: &[u8]) -> (&'static str, Vec<u8>) {
    let text: Vec<u8> = content
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let text = text.strip_prefix(b"0x").unwrap_or(&text);
    if text.is_empty() {
        return ("binary", content.to_vec());
    }
    if let Ok(bytes) = hex::decode(text) {
        return ("hex", bytes);
    }
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        if let Ok(bytes) = engine.decode(text) {
            return ("base64", bytes);
        }
    }
    ("binary", content.to_vec())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_seen_from_the_content() {
        assert_eq!(decode(b"00ff"), ("hex", vec![0, 0xFF]));
        assert_eq!(decode(b" 0x00\nFF\r\n"), ("hex", vec![0, 0xFF]));
        assert_eq!(decode(b"AP8=\n"), ("base64", vec![0, 0xFF]));
        assert_eq!(decode(b"AP-_"), ("base64", vec![0, 0xFF, 0xBF]));
        assert_eq!(decode(b"\x03\x00\x02"), ("binary", vec![3, 0, 2]));
        assert_eq!(decode(b""), ("binary", Vec::new()));
        assert_eq!(decode(b" \n"), ("binary", b" \n".to_vec()));
    }
}
