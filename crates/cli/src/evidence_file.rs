//! Evidence in a file: as it is, in hex, in base64, or in a certificate.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marblerun_attestation::{Quote, ReportBinding, certificate};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, DecodePem as _, Encode as _};

use crate::files;

/// Longest file that is read, in bytes: the largest evidence in hex, on lines.
const MAXIMUM_FILE: usize = 3 * Quote::LIMIT;
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

/// Reads evidence of a known format, or a certificate (PEM or DER) that holds some.
pub fn read(path: &Path) -> Result<EvidenceFile> {
    let content = files::read(path, MAXIMUM_FILE)?;
    find(&content).with_context(|| format!("{} is not evidence", path.display()))
}

fn find(content: &[u8]) -> Result<EvidenceFile> {
    if content.is_empty() {
        bail!("the file is empty");
    }
    let certificate = Certificate::from_pem(content).or_else(|_| Certificate::from_der(content));
    if let Ok(certificate) = certificate {
        return in_certificate(&certificate);
    }
    let bare = |quote: Quote| EvidenceFile { quote, binding: None };
    let as_it_is = match Quote::new(content.to_vec()).and_then(|quote| quote.kind().map(|_| quote)) {
        Ok(quote) => return Ok(bare(quote)),
        Err(error) => error,
    };
    if let Some(bytes) = from_text(content) {
        let quote = Quote::new(bytes)?;
        quote.kind()?;
        return Ok(bare(quote));
    }
    Err(as_it_is.into())
}

/// Hex or base64, in either case with blanks anywhere.
fn from_text(content: &[u8]) -> Option<Vec<u8>> {
    let text: String = std::str::from_utf8(content)
        .ok()?
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    hex::decode(&text).or_else(|_| STANDARD.decode(&text)).ok()
}

fn in_certificate(parsed: &Certificate) -> Result<EvidenceFile> {
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
    Ok(EvidenceFile {
        quote: certificate::decode(extension.extn_value.as_bytes(), &key)?,
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
}
