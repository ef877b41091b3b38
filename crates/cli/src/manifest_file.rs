//! Manifest files: what is uploaded of them.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use marblerun_client::rest::MAXIMUM_MANIFEST;
use serde::de::IgnoredAny;

use crate::{files, yaml};

/// Reads a manifest file and returns the bytes to upload: those of the file when it is JSON, otherwise what the
/// file says in YAML, as JSON.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let content = files::read(path, MAXIMUM_MANIFEST)?;
    as_uploaded(content).with_context(|| format!("{} is no manifest", path.display()))
}

fn as_uploaded(content: Vec<u8>) -> Result<Vec<u8>> {
    let Err(not_json) = serde_json::from_slice::<IgnoredAny>(&content) else {
        return Ok(content);
    };
    let Ok(text) = std::str::from_utf8(&content) else {
        bail!("it is neither JSON nor YAML in UTF-8")
    };
    let json = yaml::to_json(text, MAXIMUM_MANIFEST)
        .with_context(|| format!("it is neither JSON ({not_json}) nor a YAML mapping"))?;
    Ok(json.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_untouched_and_yaml_is_converted() {
        for json in [
            &b" {\"b\": 1,\n\"a\":\"<\"}\n"[..],
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"[1e999]",
        ] {
            assert_eq!(as_uploaded(json.to_vec()).unwrap(), json);
        }
        assert_eq!(
            as_uploaded(b"b: 1\na: \"<\"\n".to_vec()).unwrap(),
            b"{\"a\":\"\\u003c\",\"b\":1}"
        );
        // JSON with a trailing comma is YAML.
        assert_eq!(as_uploaded(b"{\"a\": 1,}".to_vec()).unwrap(), b"{\"a\":1}");
    }

    #[test]
    fn other_files() {
        assert!(
            as_uploaded(b"\xff\xfe".to_vec())
                .unwrap_err()
                .to_string()
                .contains("UTF-8")
        );
        let error = format!("{:#}", as_uploaded(b"{\"a\" 1}".to_vec()).unwrap_err());
        assert!(
            error.contains("neither JSON (expected `:`") && error.contains("line 1"),
            "{error}"
        );
        let error = format!("{:#}", as_uploaded(b"just text".to_vec()).unwrap_err());
        assert!(error.contains("a mapping was expected"), "{error}");
    }
}
