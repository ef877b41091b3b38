//! Files and environment variables of a manifest that are given in an encoding: what comes out is what a decoder of
//! another make says.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use marblerun_core::manifest::{Content, HsmEnvironment, Limits, check};
use serde_json::json;

use super::cursor::with_mode;

pub fn run(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let (encoding, decoded) = match mode & 3 {
        0 => ("base64", from_base64(text)),
        1 => ("hex", hex::decode(text).ok()),
        2 => ("string", Some(text.as_bytes().to_vec())),
        _ => ("Hex", hex::decode(text).ok()),
    };
    let (in_env, verbatim) = (mode & 4 != 0, mode & 8 != 0);
    let content = json!({"Data": text, "Encoding": encoding, "NoTemplates": verbatim});
    let place = if in_env { "Env" } else { "Files" };
    let manifest = json!({
        "Packages": {"p": {"Debug": true}},
        "Marbles": {"m": {"Package": "p", "Parameters": {place: {"it": content}}}},
    });
    let environment = HsmEnvironment::from_lookup(|_| true);
    match check(manifest.to_string().as_bytes(), &Limits::default(), &environment) {
        Ok(checked) => {
            let marble = checked.manifest.marbles.values().next().unwrap();
            let contents = if in_env { &marble.env } else { &marble.files };
            let decoded = decoded.unwrap_or_else(|| panic!("{encoding} that nobody else reads"));
            match contents.values().next().unwrap() {
                Content::Verbatim(bytes) => assert!(**bytes == *decoded, "other bytes"),
                Content::Template(_) => assert!(!verbatim, "a template where none may be"),
            }
            assert!(!(in_env && decoded.contains(&0)), "NUL in a variable");
        }
        // Whole, and no template: only a NUL in a variable stands in the way.
        Err(error) => assert!(
            !verbatim || decoded.is_none_or(|bytes| in_env && bytes.contains(&0)),
            "refused: {error}"
        ),
    }
}

/// The standard alphabet with padding; line breaks are skipped, trailing bits are not looked at.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let bare: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    GeneralPurpose::new(&base64::alphabet::STANDARD, config)
        .decode(bare)
        .ok()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "AAEC/+8=",
        "AA\r\nEC",
        "00ffAb",
        "text {{ hex .Secrets.x }}",
        "e3s=",
        "\u{e9}\u{0}",
    ];
    (0..16)
        .flat_map(|mode| texts.map(|text| with_mode(mode, text.as_bytes())))
        .collect()
}
