//! `attest explain`

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use marblerun_attestation::policy::RuleOutcome;
use marblerun_attestation::{Claims, UnixSeconds};
use marblerun_client::{EvidenceError, system_clock};
use marblerun_collateral::Clock;
use marblerun_core::ambient::Timestamp;
use marblerun_core::appraisal;
use marblerun_core::manifest::{self, Manifest};
use serde_json::json;

use crate::command::manifest::check;
use crate::evidence;
use crate::evidence_file::{self, EvidenceFile};
use crate::flags::GlobalFlags;
use crate::manifest_file;
use crate::output::Output;
use crate::session;

/// Arguments of `attest explain`.
#[derive(Args)]
pub struct Arguments {
    /// The evidence: a quote or report, as it is, in hex or in base64, or a certificate with evidence; `-`: standard input
    #[arg(value_name = "FILE")]
    evidence: PathBuf,
    /// The package of the manifest
    #[arg(short, long, value_name = "NAME")]
    package: String,
    /// The manifest, JSON or YAML
    #[arg(short, long, value_name = "FILE")]
    manifest: PathBuf,
    /// Verify as of this time (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Verifies evidence and tells every rule that is looked at, as a Coordinator would look at it. Package updates are not
/// known here: the security versions are those of the manifest.
pub fn run(arguments: &Arguments, flags: &GlobalFlags, output: &Output) -> Result<()> {
    let manifest = read_manifest(arguments)?;
    let file = evidence_file::read(&arguments.evidence)?;
    let clock = clock(arguments.at.as_deref())?;
    let verified = session::run(verify(&file, flags, clock))?;
    let mut rules = vec![verification(&file, &verified)?];
    if let Ok(claims) = &verified {
        let raised = Default::default();
        rules.extend(appraisal::explain(&manifest, &arguments.package, &raised, claims));
    }
    let broken = rules.iter().filter(|rule| rule.is_broken()).count();
    let lines: Vec<String> = rules.iter().map(ToString::to_string).collect();
    let rows: Vec<_> = rules
        .iter()
        .map(|rule| {
            json!({
                "rule": rule.rule, "verdict": rule.verdict.as_str(), "expected": rule.expected, "found": rule.found,
            })
        })
        .collect();
    output.result(
        &lines.join("\n"),
        &json!({
            "package": arguments.package,
            "verdict": if broken == 0 { "accepted" } else { "refused" },
            "broken": broken,
            "notLookedAt": not_looked_at(&file, &verified),
            "rules": rows,
        }),
    )?;
    match broken {
        0 => output.notice(&format!("package {} accepts this evidence", arguments.package)),
        1 => bail!(
            "package {} refuses this evidence: one rule is broken",
            arguments.package
        ),
        count => bail!(
            "package {} refuses this evidence: {count} rules are broken",
            arguments.package
        ),
    }
}

/// What a Coordinator looks at beside this, so that its verdict may be another.
fn not_looked_at(file: &EvidenceFile, verified: &Result<Claims, EvidenceError>) -> Vec<&'static str> {
    let binding = file
        .binding
        .is_none()
        .then_some("to which certificate the evidence is bound");
    let rules = verified
        .is_err()
        .then_some("the rules of the package: the evidence does not verify");
    let certificate = file
        .binding
        .is_some()
        .then_some("what else stands in the certificate: the evidence is bound to its key");
    let updates = "updates of packages: the security versions are those of the manifest";
    [binding, certificate, rules, Some(updates)]
        .into_iter()
        .flatten()
        .collect()
}

fn read_manifest(arguments: &Arguments) -> Result<Manifest> {
    let path = &arguments.manifest;
    let raw = manifest_file::read(path)?;
    let manifest = manifest::reopen(raw.as_slice().into())
        .map_err(|error| anyhow!("{} is not a valid manifest: {error}", path.display()))?;
    check::warn_of_problems(&raw);
    if !manifest.packages.contains_key(arguments.package.as_str()) {
        let names: Vec<&str> = manifest.packages.keys().map(|name| &**name).take(20).collect();
        bail!(
            "{} has no package {:?}; it has: {}",
            path.display(),
            arguments.package,
            names.join(", ")
        );
    }
    Ok(manifest)
}

/// The clock of this machine, or one that stands still.
fn clock(at: Option<&str>) -> Result<Clock> {
    let Some(text) = at else {
        return Ok(system_clock());
    };
    let time = Timestamp::parse_rfc3339(text)
        .with_context(|| format!("--at: expected a time like 2026-01-31T12:00:00Z, found {text:?}"))?;
    let moment = u64::try_from(time.unix_seconds())
        .with_context(|| format!("--at: expected a time from 1970 on, found {text:?}"))?;
    Ok(Arc::new(move || UnixSeconds(moment)))
}

async fn verify(
    file: &EvidenceFile,
    flags: &GlobalFlags,
    clock: Clock,
) -> Result<Result<Claims, EvidenceError>> {
    let verifier = evidence::verifier(flags, clock)?;
    match verifier.verify(file.quote.as_bytes(), &file.binding()?).await {
        // Nothing is known of the evidence then.
        Err(error @ EvidenceError::NoCollateral(_)) => Err(match &flags.collateral.collateral_dir {
            None => error.into(),
            Some(directory) => anyhow!(error).context(format!(
                "{} holds nothing it could be verified with (see `marblerun collateral show {0}`)",
                directory.display()
            )),
        }),
        other => Ok(other),
    }
}

/// Verification itself, told as the first rule.
fn verification(file: &EvidenceFile, verified: &Result<Claims, EvidenceError>) -> Result<RuleOutcome> {
    use marblerun_attestation::policy::Verdict;
    let kind = file.quote.kind()?;
    let (found, verdict) = match verified {
        Ok(_) if file.binding.is_none() => (
            format!("{kind}, verified; to which certificate it is bound is not known here"),
            Verdict::Kept,
        ),
        Ok(_) => (format!("{kind}, verified"), Verdict::Kept),
        Err(error) => (format!("{kind}, refused at {error}"), Verdict::Broken),
    };
    Ok(RuleOutcome {
        rule: "evidence".to_owned(),
        expected: "evidence that verifies".to_owned(),
        found,
        verdict,
    })
}
