//! `manifest check`

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::{ArgAction, Args};
use marblerun_client::{is_hidden, manifest_fingerprint};
use marblerun_core::manifest::{HsmEnvironment, Limits, ManifestError, WarningKind, check};
use serde_json::{Value, json};

use crate::flags::switch;
use crate::manifest_file;
use crate::output::{Output, warning};

/// Arguments of `manifest check`.
#[derive(Args)]
pub struct Arguments {
    /// The manifest, JSON or YAML
    #[arg(value_name = "FILE")]
    manifest: PathBuf,
    /// Refuse fields that no manifest has, which a Coordinator ignores
    #[arg(
        long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", value_name = "BOOL", hide_default_value = true, value_parser = switch
    )]
    strict: bool,
}

/// Checks a manifest as a Coordinator would, without one. Whether the settings that `AzureHSMSealing` needs are
/// there only the Coordinator can tell.
pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let manifest = manifest_file::read(&arguments.manifest)?;
    let finding = Finding::of(&manifest, arguments.strict)?;
    let valid = finding.problems.is_empty();
    let mut lines: Vec<String> = finding
        .problems
        .iter()
        .map(|(path, message)| format!("{path}: {message}"))
        .collect();
    if finding.omitted > 0 {
        lines.push(format!("and {} more problems", finding.omitted));
    }
    lines.extend(
        finding
            .warnings
            .iter()
            .map(|(path, message)| format!("warning: {path}: {message}")),
    );
    if valid {
        lines.push("OK".to_owned());
    }
    let listed = |entries: &[(String, String)]| -> Vec<Value> {
        entries
            .iter()
            .map(|(path, message)| json!({"path": path, "message": message}))
            .collect()
    };
    output.result(
        &lines.join("\n"),
        &json!({
            "valid": valid,
            "manifestSignature": manifest_fingerprint(&manifest),
            "problems": listed(&finding.problems),
            "omittedProblems": finding.omitted,
            "warnings": listed(&finding.warnings),
        }),
    )?;
    match finding.problems.len().saturating_add(finding.omitted) {
        0 => Ok(()),
        1 => bail!("{} has a problem", arguments.manifest.display()),
        count => bail!("{} has {count} problems", arguments.manifest.display()),
    }
}

/// Prints what is odd about a manifest that is about to be set, as a field that nobody looks at. Whether it is valid the
/// Coordinator says.
pub fn warn(manifest: &[u8]) {
    let finding = Finding::of(manifest, false).unwrap_or_default();
    say(&finding.warnings, "");
}

/// Prints why a Coordinator would not take a manifest that is looked at for something else.
pub fn warn_of_problems(manifest: &[u8]) {
    let finding = Finding::of(manifest, false).unwrap_or_default();
    say(&finding.problems, "no Coordinator takes this manifest: ");
}

fn say(said: &[(String, String)], introduction: &str) {
    const MOST: usize = 20;
    for (path, message) in said.iter().take(MOST) {
        let line = format!("{introduction}{path}: {message}");
        warning(&line.replace(is_hidden, "\u{FFFD}"));
    }
    if let Some(more @ 1..) = said.len().checked_sub(MOST) {
        warning(&format!("and {more} more: see `marblerun manifest check`"));
    }
}

/// Paths and what is said of them.
#[derive(Default)]
struct Finding {
    problems: Vec<(String, String)>,
    omitted: usize,
    warnings: Vec<(String, String)>,
}

impl Finding {
    fn of(manifest: &[u8], strict: bool) -> Result<Self> {
        let mut finding = Self::default();
        match check(
            manifest,
            &Limits::default(),
            &HsmEnvironment {
                missing: Vec::new(),
                without_seal_key: false,
            },
        ) {
            Ok(checked) => {
                for warning in checked.warnings {
                    let is_problem = strict && warning.kind == WarningKind::UnknownField;
                    let list = if is_problem {
                        &mut finding.problems
                    } else {
                        &mut finding.warnings
                    };
                    list.push((warning.path, warning.message));
                }
            }
            Err(ManifestError::Problems { problems, omitted }) => {
                finding.problems = problems
                    .into_iter()
                    .map(|problem| (problem.path, problem.message))
                    .collect();
                finding.omitted = omitted;
            }
            // Of the document as a whole: there is no path to name.
            Err(error) => return Err(anyhow!(error)),
        }
        Ok(finding)
    }
}
