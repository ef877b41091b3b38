//! Files with values for user-defined secrets: what is uploaded of them.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use marblerun_client::rest::{Base64Bytes, Base64Secret, MAXIMUM_SECRETS_BODY, Named, read_body, v2};

use zeroize::Zeroizing;

use crate::files;

/// Reads a file of values: JSON `{name: {"Key"} or {"Cert", "Private"}}`, bytes in base64.
pub fn read_json(path: &Path) -> Result<v2::UploadSecrets> {
    let content = files::read_secret(path, MAXIMUM_SECRETS_BODY)?;
    from_json(&content).with_context(|| {
        format!(
            "{} does not hold secrets as {{name: {{\"Key\": base64}} or {{\"Cert\": base64, \"Private\": base64}}}}",
            path.display()
        )
    })
}

/// Reads a PEM file with a certificate and its key: the value of the secret `name`.
pub fn read_pem(path: &Path, name: &str) -> Result<v2::UploadSecrets> {
    let content = files::read_secret(path, MAXIMUM_SECRETS_BODY)?;
    let value = from_pem(&content).with_context(|| {
        format!(
            "{} does not hold a certificate and its private key in PEM",
            path.display()
        )
    })?;
    Ok(v2::UploadSecrets {
        secrets: [(name.to_owned(), value)].into_iter().collect(),
    })
}

fn from_json(content: &[u8]) -> Result<v2::UploadSecrets> {
    let secrets: Named<v2::UploadedSecret> = read_body(content)?;
    if secrets.0.is_empty() {
        bail!("it names no secret");
    }
    for (name, value) in &secrets.0 {
        let given = (value.key.is_some(), value.cert.is_some(), value.private.is_some());
        if !matches!(given, (true, false, false) | (false, true, true)) {
            bail!("{name:?}: expected either Key, or Cert and Private");
        }
    }
    Ok(v2::UploadSecrets { secrets })
}

/// The first block `CERTIFICATE` and the first `…PRIVATE…`; what follows when both are found does not matter.
fn from_pem(content: &[u8]) -> Result<v2::UploadedSecret> {
    let text = std::str::from_utf8(content).map_err(|_| anyhow!("it is no text"))?;
    let mut lines = text.lines().enumerate();
    let (mut certificate, mut key) = (None, None);
    while certificate.is_none() || key.is_none() {
        let Some((number, label)) = lines.find_map(|(number, line)| Some((number + 1, begin(line)?))) else {
            bail!(
                "it has no block {}",
                if certificate.is_none() {
                    "CERTIFICATE"
                } else {
                    "PRIVATE KEY"
                }
            );
        };
        let bytes = block(&mut lines, label, content.len())
            .with_context(|| format!("the block {label} at line {number} is unusable"))?;
        match label {
            "CERTIFICATE" => certificate = certificate.or(Some(bytes)),
            "ENCRYPTED PRIVATE KEY" => {
                bail!("the private key at line {number} is encrypted: decrypt it first")
            }
            label if label.contains("PRIVATE") => key = key.or(Some(bytes)),
            other => bail!(
                "the block {other} at line {number} is neither CERTIFICATE nor PRIVATE KEY, and the two do not both come before it"
            ),
        }
    }
    Ok(v2::UploadedSecret {
        key: None,
        cert: certificate.map(|bytes| Base64Bytes(bytes.expose().to_vec())),
        private: key,
    })
}

/// The content of the block that was begun; `limit`: at least its length.
fn block<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    label: &str,
    limit: usize,
) -> Result<Base64Secret> {
    // Never grows: that would leave copies behind.
    let mut body = Zeroizing::new(String::with_capacity(limit));
    for (_, line) in lines {
        let line = line.trim();
        if line
            .strip_prefix("-----END ")
            .and_then(|rest| rest.strip_suffix("-----"))
            == Some(label)
        {
            return Ok(Base64Secret::decode(&body)?);
        }
        if line.starts_with("-----") {
            break;
        }
        if line.starts_with("Proc-Type:") && line.contains("ENCRYPTED") {
            bail!("it is encrypted: decrypt it first");
        }
        if line.contains(':') {
            bail!("it has PEM headers, which are not supported");
        }
        body.push_str(line);
    }
    bail!("its line -----END {label}----- is missing")
}

/// The label, when the line begins a block.
fn begin(line: &str) -> Option<&str> {
    line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str, content: &str) -> String {
        format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n")
    }

    fn taken(text: &str) -> (Vec<u8>, Vec<u8>) {
        let value = from_pem(text.as_bytes()).unwrap();
        assert!(value.key.is_none());
        (value.cert.unwrap().0, value.private.unwrap().expose().to_vec())
    }

    fn refused(text: &str) -> String {
        format!("{:#}", from_pem(text.as_bytes()).err().unwrap())
    }

    #[test]
    fn first_certificate_and_first_key() {
        let (certificate, key) = (pem("CERTIFICATE", "aGk="), pem("PRIVATE KEY", "a2V5\r\nLg=="));
        let expected = (b"hi".to_vec(), b"key.".to_vec());
        let other = pem("CERTIFICATE", "AAAA") + &pem("RSA PRIVATE KEY", "AAAA");
        for text in [
            format!("{certificate}{key}"),
            format!("{key}{certificate}"),
            format!("{certificate}{key}{other}"),
            // A chain before the key.
            format!("{certificate}{}{key}", pem("CERTIFICATE", "AAAA")),
            // Text between blocks, and what follows both of them.
            format!(
                "subject: x\n{certificate}\nkey:\n{key}{}",
                pem("EC PARAMETERS", "AAAA")
            ),
            format!("{certificate}{key}-----BEGIN CERTIFICATE-----\ncut"),
            format!("{certificate}{key}").replace('\n', "\r\n"),
        ] {
            assert_eq!(taken(&text), expected, "{text}");
        }
        for label in ["EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            assert_eq!(taken(&(pem(label, "a2V5Lg==") + &certificate)), expected);
        }
    }

    #[test]
    fn other_pem_files() {
        let (certificate, key) = (pem("CERTIFICATE", "aGk="), pem("PRIVATE KEY", "c2VjcmV0"));
        for (text, part) in [
            (String::new(), "it has no block CERTIFICATE"),
            (certificate.clone(), "it has no block PRIVATE KEY"),
            (key.clone(), "it has no block CERTIFICATE"),
            (
                pem("EC PARAMETERS", "AAAA") + &key + &certificate,
                "the block EC PARAMETERS at line 1 is neither",
            ),
            (
                certificate.clone() + &pem("PUBLIC KEY", "AAAA") + &key,
                "the block PUBLIC KEY at line 4 is neither",
            ),
            (
                pem("ENCRYPTED PRIVATE KEY", "AAAA") + &certificate,
                "at line 1 is encrypted: decrypt it first",
            ),
            (
                pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA") + &certificate,
                "RSA PRIVATE KEY at line 1 is unusable: it is encrypted",
            ),
            (
                pem("PRIVATE KEY", "Comment: x\n\nAAAA") + &certificate,
                "it has PEM headers",
            ),
            (
                certificate.clone() + &key.replace("END PRIVATE", "END PUBLIC"),
                "at line 4 is unusable: its line -----END PRIVATE KEY----- is missing",
            ),
            (
                certificate + "-----BEGIN PRIVATE KEY-----\nc2VjcmV0",
                "its line -----END PRIVATE KEY----- is missing",
            ),
            (
                pem("CERTIFICATE", "not base64!"),
                "at line 1 is unusable: not base64",
            ),
        ] {
            let error = refused(&text);
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("c2VjcmV0"), "{error}");
        }
        assert!(from_pem(b"\xff").is_err());
    }

    #[test]
    fn json_values() {
        let secrets = from_json(
            br#"{"a":{"Key":"aGk="},"b":{"key":"","Cert":null},"c":{"Cert":"AA==","Private":"AQ==","Key":null}}"#,
        )
        .unwrap()
        .secrets
        .0;
        assert_eq!(secrets["a"].key.as_ref().unwrap().expose(), b"hi");
        assert_eq!(secrets["b"].key.as_ref().unwrap().expose(), b"");
        assert_eq!(secrets["c"].private.as_ref().unwrap().expose(), [1]);
        for (json, part) in [
            ("{}", "it names no secret"),
            ("null", "it names no secret"),
            ("[]", "an object with names as keys"),
            ("{bad", "line 1 column 2"),
            (r#"{"a":{}}"#, "\"a\": expected either Key, or Cert and Private"),
            (r#"{"a":{"Cert":"AA=="}}"#, "expected either Key"),
            (r#"{"a":{"Private":"AA=="}}"#, "expected either Key"),
            (
                r#"{"a":{"Key":"","Cert":"AA==","Private":"AA=="}}"#,
                "expected either Key",
            ),
            (r#"{"a":{"Key":"hunter2!"}}"#, "a.Key: not base64"),
            (r#"{"a":"hunter2!"}"#, "a: invalid type: a string"),
            (r#"{"a":{"Key":""},"a":{"Key":""}}"#, "duplicate name \"a\""),
        ] {
            let error = from_json(json.as_bytes()).err().unwrap().to_string();
            assert!(error.contains(part), "{json}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
