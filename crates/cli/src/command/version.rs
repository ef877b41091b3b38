//! `version`

use anyhow::Result;
use serde_json::json;

use crate::output::Output;

/// Prints the version of this program. No cluster is asked yet, so there is no Coordinator to be found.
pub fn run(output: &Output) -> Result<()> {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let commit = option_env!("MARBLERUN_COMMIT").unwrap_or("unknown");
    output.result(
        &format!("CLI Version: {version}\nCommit: {commit}\nUnable to find MarbleRun Coordinator"),
        &json!({"cliVersion": version, "commit": commit, "coordinatorVersion": null}),
    )
}
