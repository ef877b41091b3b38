//! Recovery data: made once by the Coordinator, so there must be a place for it beforehand.

use std::path::{Path, PathBuf};

use anyhow::Result;
use marblerun_client::rest::{Base64Bytes, Named, go_json_string, v2};
use serde_json::{Value, json};

use crate::files;
use crate::output::{Output, warning};

/// Where recovery data will go: a file that can be written, or standard output.
pub struct RecoveryPlace {
    file: Option<PathBuf>,
    /// The file is there only because of this, and empty.
    made: bool,
}

impl RecoveryPlace {
    /// Makes sure of the file, before anything is done that makes recovery data. What it holds stays until there
    /// is some.
    pub fn prepare(file: Option<&Path>) -> Result<Self> {
        Ok(Self {
            file: file.map(Path::to_path_buf),
            made: match file {
                Some(file) => files::probe(file)?,
                None => false,
            },
        })
    }

    /// Prints the result of a command, `text` or the object `value`, with the recovery data or where it was saved.
    pub fn report(
        mut self,
        output: &Output,
        text: &str,
        mut value: Value,
        secrets: Option<Named<Base64Bytes>>,
    ) -> Result<()> {
        let Some(recovery_secrets) = secrets.filter(|secrets| !secrets.0.is_empty()) else {
            return output.result(text, &value);
        };
        let set = v2::ManifestSet { recovery_secrets };
        let data = go_json_string(&set)?;
        if let Some(file) = &self.file {
            match files::write(file, format!("{data}\n").as_bytes()) {
                Ok(()) => {
                    self.made = false;
                    add(&mut value, "recoveryData", json!(file.to_string_lossy()));
                    return output.result(
                        &format!("{text}\nRecovery data saved to {}", file.display()),
                        &value,
                    );
                }
                Err(error) => warning(&format!(
                    "{error:#}; the recovery data follows on standard output: keep it"
                )),
            }
        }
        add(
            &mut value,
            "RecoverySecrets",
            serde_json::to_value(&set.recovery_secrets)?,
        );
        output.result(&format!("{text}\n{data}"), &value)
    }
}

impl Drop for RecoveryPlace {
    fn drop(&mut self) {
        if let (true, Some(file)) = (self.made, &self.file) {
            // Nothing worth keeping came: nothing is lost if it stays.
            let _ = std::fs::remove_file(file);
        }
    }
}

fn add(value: &mut Value, name: &str, field: Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(name.to_owned(), field);
    }
}
