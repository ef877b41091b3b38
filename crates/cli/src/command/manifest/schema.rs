//! `manifest schema`

use anyhow::Result;

use crate::output::Output;

/// JSON Schema, draft 2020-12; a test of the core keeps it true.
const SCHEMA: &[u8] = include_bytes!("../../../../../docs/manifest.schema.json");

/// Prints the JSON Schema of manifests, for editors and other tools.
pub fn run(output: &Output) -> Result<()> {
    output.bytes(SCHEMA)
}
