//! Evidence in a file: as it is, in hex, in base64, or in a certificate.

use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use marblerun_attestation::{Quote, ReportBinding, certificate};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::files;

/// Largest file that is read, in bytes: the largest evidence in hex, with line breaks.
const LARGEST: usize = 4 * Quote::LIMIT;
/// Extension of a certificate that holds evidence over its own key (`spec/03`).
const EVIDENCE_EXTENSION: &str = "2.23.133.5.4.9";

/// Evidence, unverified.
pub struct EvidenceFile {
    /// The evidence.
    pub quote: Quote,
    /// What it has to be bound to, where the file tells: the key of the certificate it stands in.
    pub binding: Option<ReportBinding>,
}

impl EvidenceFile {
    /// What it is verified as bound to: what the file tells, else whatever it says itself.
    pub fn binding(&self) -> Result<ReportBinding> {
        if let Some(binding) = self.binding {
            return Ok(binding);
        }
        let data = self.quote.unverified_report_data()?;
        Ok(ReportBinding::report_data_itself(
            data.context("there is no evidence in it")?,
        ))
    }
}

/// What may be evidence, whatever it was spelled in.
pub struct Content {
    /// How it was spelled: `binary`, `hex`, `base64` or `certificate`.
    pub form: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
    binding: Option<ReportBinding>,
}

/// Reads evidence of a known format, or a certificate (PEM or DER) that holds some. `-` is standard input.
pub fn read(path: &Path) -> Result<EvidenceFile> {
    let content = content(path)?;
    find(&content).with_context(|| format!("{} is not evidence", path.display()))
}

/// Reads what may be evidence, likewise.
pub fn open(path: &Path) -> Result<Content> {
    decode(&content(path)?).with_context(|| format!("{} is not evidence", path.display()))
}

fn content(path: &Path) -> Result<Vec<u8>> {
    if path != Path::new("-") {
        return files::read(path, LARGEST);
    }
    let mut content = Vec::new();
    io::stdin()
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut content)
        .context("cannot read standard input")?;
    if content.len() > LARGEST {
        bail!("standard input is longer than {LARGEST} bytes");
    }
    Ok(content)
}

fn find(content: &[u8]) -> Result<EvidenceFile> {
    if content.is_empty() {
        bail!("the file is empty");
    }
    let Content { bytes, binding, .. } = decode(content)?;
    let quote = Quote::new(bytes)?;
    quote.kind()?;
    Ok(EvidenceFile { quote, binding })
}

/// Text of hex digits or in base64 is what it stands for: no evidence in binary is made of such characters alone.
fn decode(content: &[u8]) -> Result<Content> {
    if let Ok(certificate) = Certificate::from_der(content) {
        return in_certificate(&certificate);
    }
    // Of several, as in a file of pins, the one that holds evidence: the root.
    let certificates = Certificate::load_pem_chain(content).unwrap_or_default();
    if let Some((first, others)) = certificates.split_first() {
        let found = others.iter().find_map(|other| in_certificate(other).ok());
        return in_certificate(first).or_else(|error| found.ok_or(error));
    }
    let (form, bytes) = from_text(content).unwrap_or_else(|| ("binary", content.to_vec()));
    Ok(Content {
        form,
        bytes,
        binding: None,
    })
}

/// Hex or base64, in either case with blanks anywhere.
fn from_text(content: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let text: Vec<u8> = content
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let text = text.strip_prefix(b"0x").unwrap_or(&text);
    if text.is_empty() {
        return None;
    }
    if let Ok(bytes) = hex::decode(text) {
        return Some(("hex", bytes));
    }
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(text).ok())
        .map(|bytes| ("base64", bytes))
}

fn in_certificate(parsed: &Certificate) -> Result<Content> {
    let tbs = parsed.tbs_certificate();
    let key = tbs.subject_public_key_info().to_der()?;
    let extension = tbs
        .extensions()
        .and_then(|extensions| {
            extensions
                .iter()
                .find(|extension| extension.extn_id.to_string() == EVIDENCE_EXTENSION)
        })
        .context("the certificate holds no evidence (extension 2.23.133.5.4.9)")?;
    let quote = certificate::decode(extension.extn_value.as_bytes(), &key)?;
    Ok(Content {
        form: "certificate",
        bytes: quote.as_bytes().to_vec(),
        binding: Some(ReportBinding::public_key(&key)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTE: &[u8] = include_bytes!("../../attestation/tests/evidence/sgx_v3.quote");

    #[test]
    fn evidence_is_found_in_each_spelling() {
        let hex = hex::encode(QUOTE);
        let lines: Vec<String> = hex
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).to_uppercase())
            .collect();
        let spellings = [
            QUOTE.to_vec(),
            marblerun_attestation::header::OpenEnclaveHeader::add(QUOTE),
            hex.into_bytes(),
            lines.join("\n").into_bytes(),
            STANDARD.encode(QUOTE).into_bytes(),
            URL_SAFE_NO_PAD.encode(QUOTE).into_bytes(),
        ];
        for spelling in spellings {
            let (_, bare) = find(&spelling)
                .unwrap()
                .quote
                .recognise()
                .map(|(kind, bare)| (kind, bare.to_vec()))
                .unwrap();
            assert_eq!(bare, QUOTE);
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_was_expected() {
        for other in [&b"nonsense"[..], &[0; 100], b"c0ffee", b"{}"] {
            let refused = format!("{:#}", find(other).err().unwrap());
            assert!(refused.contains("expected an SGX quote"), "{refused}");
        }
        assert!(find(b"").is_err());
    }

    #[test]
    fn the_form_is_seen_from_the_content() {
        for (content, form, bytes) in [
            (&b"00ff"[..], "hex", &[0, 0xFF][..]),
            (b" 0x00\nFF\r\n", "hex", &[0, 0xFF]),
            (b"AP8=\n", "base64", &[0, 0xFF]),
            (b"AP-_", "base64", &[0, 0xFF, 0xBF]),
            (b"\x03\x00\x02", "binary", &[3, 0, 2]),
            (b"", "binary", b""),
            (b" \n", "binary", b" \n"),
        ] {
            let found = decode(content).unwrap();
            assert_eq!((found.form, &found.bytes[..]), (form, bytes), "{content:?}");
        }
    }
}
