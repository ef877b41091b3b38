//! The evidence of a marble that was not activated, left in a file for `marblerun attest explain`.

use std::io;
use std::path::Path;

use marblerun_attestation::issue::Environment;

use super::apply;
use super::place::Failed;
use super::settings::EVIDENCE_FILE;

/// Leaves evidence in the file at `path`, in place of what it held, as files of the manifest are written. Tells in the
/// log what became of it: the marble has failed already, and for another reason.
pub(super) fn leave(environment: Environment, path: &Path, evidence: &[u8]) {
    if evidence.is_empty() {
        tracing::warn!("{EVIDENCE_FILE}: this marble has no evidence, so none was left");
        return;
    }
    let written = regular(path).and_then(|()| apply::write_at(environment, path, evidence));
    match written {
        Ok(()) => tracing::warn!(
            file = %path.display(),
            "the evidence of this marble, which was not activated, was left in a file: `marblerun attest explain` tells \
             what a package makes of it"
        ),
        Err(Failed { at, doing, source }) => tracing::warn!(
            file = %path.display(),
            "{EVIDENCE_FILE}: the evidence was not left: cannot {doing} {}: {source}",
            at.display()
        ),
    }
}

/// A pipe would be waited for.
fn regular(path: &Path) -> Result<(), Failed> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Failed {
            at: path.to_owned(),
            doing: "write",
            source: io::Error::other("expected a regular file"),
        }),
        _ => Ok(()),
    }
}
