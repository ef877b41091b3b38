//! Evidence in a file: as it is, in hex, in base64, or in a certificate.

use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use marblerun_attestation::{EvidenceKind, Quote, ReportBinding, certificate};
use x509_cert::Certificate;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, DecodePem as _, Encode as _};

use crate::files;

/// Largest file that is read, in bytes: the largest evidence in hex, with line breaks.
const LARGEST: usize = 4 * Quote::LIMIT;

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
    /// Why it is taken as it is, if it looks like text.
    not_decoded: Option<String>,
}

impl Content {
    /// Evidence of a known format.
    ///
    /// # Errors
    /// It is none; of text that could not be decoded, why not.
    pub fn recognise(self) -> Result<(Quote, EvidenceKind)> {
        let recognised = Quote::new(self.bytes).and_then(|quote| {
            let kind = quote.kind()?;
            Ok((quote, kind))
        });
        match (recognised, self.not_decoded) {
            (Err(error), Some(why)) => bail!("{error}; {why}"),
            (recognised, _) => Ok(recognised?),
        }
    }
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
        files::refuse_named_pipe(path)?;
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
    let content = decode(content)?;
    let binding = content.binding;
    let (quote, _) = content.recognise()?;
    Ok(EvidenceFile { quote, binding })
}

/// Text of hex digits or in base64 is what it stands for: no evidence in binary is made of such characters alone.
fn decode(content: &[u8]) -> Result<Content> {
    if let Ok(certificate) = Certificate::from_der(content) {
        return in_certificate(&certificate)?.context(NO_EVIDENCE);
    }
    if let Some(found) = among_certificates(content) {
        return found;
    }
    let (form, bytes, not_decoded) = match from_text(content) {
        Some((form, bytes)) => (form, bytes, None),
        None => ("binary", content.to_vec(), why_not_decoded(content)),
    };
    Ok(Content {
        form,
        bytes,
        binding: None,
        not_decoded,
    })
}

/// Of several certificates, as in a chain or a file of pins, the one that holds evidence: the root. Other blocks and what
/// stands between them do not matter.
fn among_certificates(content: &[u8]) -> Option<Result<Content>> {
    let mut count = 0_usize;
    let mut problem = None;
    for block in blocks(content) {
        count = count.saturating_add(1);
        let read = Certificate::from_pem(block).map_err(|error| anyhow!("certificate {count}: {error}"));
        match read.and_then(|certificate| in_certificate(&certificate)) {
            Ok(Some(found)) => return Some(Ok(found)),
            Ok(None) => {}
            // One that cannot be read says more than one that holds none.
            Err(error) => drop(problem.get_or_insert(error)),
        }
    }
    match (count, problem) {
        (0, _) => None,
        (_, Some(problem)) => Some(Err(problem)),
        (1, None) => Some(Err(anyhow!("{NO_EVIDENCE}"))),
        (_, None) => Some(Err(anyhow!(
            "none of the {count} certificates holds evidence (extension {EVIDENCE_EXTENSION})"
        ))),
    }
}

/// Certificates in PEM, each from its first to its last dash. Quotes have some in them, behind bytes that no text has.
fn blocks(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
    let before = content
        .get(..find(content, BEGIN).unwrap_or(0))
        .unwrap_or_default();
    let mut rest = match before
        .iter()
        .any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
    {
        true => &[],
        false => content,
    };
    std::iter::from_fn(move || {
        let from = rest.get(find(rest, BEGIN)?..)?;
        let (block, after) = from.split_at_checked(find(from, END)?.saturating_add(END.len()))?;
        rest = after;
        Some(block)
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

/// What keeps something from being hex or base64, if it looks like text: most of its beginning can be printed.
fn why_not_decoded(content: &[u8]) -> Option<String> {
    const SHOWN: usize = 8;
    let beginning = content.get(..64).unwrap_or(content);
    let printable = |byte: &&u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if beginning.is_empty() || beginning.iter().filter(printable).count() < beginning.len() / 4 * 3 {
        return None;
    }
    // The `x` of a prefix is no digit.
    let start = content.len() - content.trim_ascii_start().len();
    let prefix = content.get(start..).is_some_and(|text| text.starts_with(b"0x"));
    let digits = start + if prefix { 2 } else { 0 };
    let other = |byte: &u8| !byte.is_ascii_hexdigit() && !byte.is_ascii_whitespace();
    let why = match content.iter().skip(digits).position(other) {
        Some(at) => {
            let found = content
                .iter()
                .skip(digits + at)
                .take(SHOWN)
                .copied()
                .collect::<Vec<u8>>();
            format!("found \"{}\" behind {} bytes", found.escape_ascii(), digits + at)
        }
        None => "an odd number of digits".to_owned(),
    };
    Some(format!("as text it is neither hex ({why}) nor base64"))
}

/// Extension of a certificate that holds evidence over its own key (`spec/03`).
const EVIDENCE_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.9");

const NO_EVIDENCE: &str = "the certificate holds no evidence (extension 2.23.133.5.4.9)";

/// `None`: it holds no evidence.
fn in_certificate(parsed: &Certificate) -> Result<Option<Content>> {
    let tbs = parsed.tbs_certificate();
    let key = tbs.subject_public_key_info().to_der()?;
    let Some(extension) = tbs.extensions().and_then(|extensions| {
        extensions
            .iter()
            .find(|extension| extension.extn_id == EVIDENCE_EXTENSION)
    }) else {
        return Ok(None);
    };
    let quote = certificate::decode(extension.extn_value.as_bytes(), &key)?;
    Ok(Some(Content {
        form: "certificate",
        bytes: quote.as_bytes().to_vec(),
        binding: Some(ReportBinding::public_key(&key)),
        not_decoded: None,
    }))
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
    fn certificates_within_a_quote_are_part_of_it() {
        // Behind the start of a quote, whole or cut short.
        for length in [QUOTE.len(), QUOTE.len() - 1] {
            assert_eq!(decode(&QUOTE[..length]).unwrap().form, "binary");
        }
        assert!(QUOTE.windows(5).any(|window| window == b"BEGIN"));
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
