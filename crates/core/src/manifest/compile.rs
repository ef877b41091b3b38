//! From bytes to the checked manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use marblerun_attestation::policy::misspelled;

use super::content::Contents;
use super::document::{Node, parse};
use super::field::Field;
use super::hsm::HsmEnvironment;
use super::model::{Manifest, Role, SealMode};
use super::report::{ManifestError, Report, Unusable, Warning};
use super::section::Section;
use super::template_index::TemplateIndex;
use super::{Checked, Limits};
use super::{budget, config, infrastructures, marbles, packages, recovery_keys, roles, secrets, tls, users};
use crate::access::UserIndex;

/// The sections of a manifest.
pub(super) const SECTIONS: &[&str] = &[
    "Packages",
    "Infrastructures",
    "Marbles",
    "Secrets",
    "Users",
    "Roles",
    "RecoveryKeys",
    "TLS",
    "Config",
];

/// Checks a manifest against every rule of `spec/01` and `spec/02`.
///
/// Costs time in proportion to the manifest: for a thread that may be busy for a while.
///
/// # Errors
/// [`ManifestError`]: a limit, the syntax, or all problems found.
pub fn check(raw: &[u8], limits: &Limits, environment: &HsmEnvironment) -> Result<Checked, ManifestError> {
    let document = parse(raw, Some(limits))?;
    let (manifest, warnings) = compile(raw.into(), &document, Some(environment))?;
    Ok(Checked { manifest, warnings })
}

/// Compiles a manifest that was accepted before, as the sealed state keeps it: what depends on the environment
/// and on limits of size is not asked again. `TDX` or `SNP` of a package that could not be set today, as whoever
/// accepted it did not know these fields, does not keep the state closed: evidence of that TEE matches it never.
///
/// # Errors
/// [`ManifestError`]: these bytes were never accepted, or by a version with other rules.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the manifest keeps the bytes; the tree borrows them meanwhile"
)]
pub fn reopen(raw: Arc<[u8]>) -> Result<Manifest, ManifestError> {
    let document = parse(&raw, None)?;
    let (manifest, _) = compile(raw.clone(), &document, None)?;
    Ok(manifest)
}

fn compile(
    raw: Arc<[u8]>,
    document: &Node<'_>,
    environment: Option<&HsmEnvironment>,
) -> Result<(Manifest, Vec<Warning>), ManifestError> {
    let report = Report::default();
    let manifest = compile_sections(raw, document, environment, &report)?;
    let warnings = report.finish()?;
    // Without an object there is no manifest, but then there is a problem too.
    manifest
        .map(|manifest| (manifest, warnings))
        .ok_or(ManifestError::Problems {
            problems: Vec::new(),
            omitted: 0,
        })
}

fn compile_sections(
    raw: Arc<[u8]>,
    document: &Node<'_>,
    environment: Option<&HsmEnvironment>,
    report: &Report,
) -> Result<Option<Manifest>, ManifestError> {
    let root_field = Field::root(document, report);
    if root_field.given().is_none() {
        root_field.expected("an object");
        return Ok(None);
    }
    let unusable = match environment {
        Some(_) => Unusable::IsAProblem,
        None => Unusable::MatchesNothing,
    };
    // Of sections, the one that only ever leaves something out: without it, everything is let in.
    let meant = |name: &str| misspelled(&["Infrastructures"], name).map(str::to_owned);
    let Ok(root) = root_field.references(SECTIONS, unusable, meant) else {
        return Ok(None);
    };
    let [package_field, infrastructure_field, marble_field, secret_field] =
        ["Packages", "Infrastructures", "Marbles", "Secrets"].map(|name| root.field(name));
    let [user_field, role_field, key_field, tls_field] =
        ["Users", "Roles", "RecoveryKeys", "TLS"].map(|name| root.field(name));
    // Names first: sections refer to each other in both directions.
    let package_section = Section::read("Packages", &package_field);
    let infrastructure_section = Section::read("Infrastructures", &infrastructure_field);
    let marble_section = Section::read("Marbles", &marble_field);
    let secret_section = Section::read("Secrets", &secret_field);
    let role_section = Section::read("Roles", &role_field);
    let user_section = Section::read("Users", &user_field);
    let key_section = Section::read("RecoveryKeys", &key_field);
    let tls_section = Section::read("TLS", &tls_field);
    for (section, field) in [
        (&package_section, &package_field),
        (&marble_section, &marble_field),
    ] {
        if section.entries.is_empty() && !field.has_entries() {
            field.problem("missing: expected at least one entry");
        }
    }

    let specs: BTreeMap<_, _> = secrets::read(&secret_section).into_iter().collect();
    // Not asked again of a manifest that is in force: what it costs was paid.
    if environment.is_some() {
        budget::check(&secret_field, specs.iter());
    }
    let tags: BTreeMap<_, _> = tls::read(&tls_section, &secret_section, &specs)
        .into_iter()
        .collect();
    let before = report.problem_count();
    let roles: BTreeMap<_, _> = roles::read(&role_section, &package_section, &secret_section, &specs)
        .into_iter()
        .collect();
    let users: BTreeMap<_, _> = users::read(&user_section, &role_section).into_iter().collect();
    let user_index = UserIndex::of(&users);
    let may_update = |role| matches!(roles.get(role), Some(Role::Manifest { update: true }));
    let updaters = users
        .values()
        .filter(|user| user.roles.iter().any(may_update))
        .count();
    let counts = config::Counts {
        may_update: (report.problem_count() == before).then_some(updaters),
        recovery_keys: key_section.entries.len(),
    };
    let recovery_keys = recovery_keys::read(&key_section).into_iter().collect();
    let config = config::read(&root.field("Config"), &counts, environment);
    if environment.is_some_and(|environment| environment.without_seal_key)
        && key_section.entries.is_empty()
        && config.seal_mode != SealMode::Disabled
    {
        key_field.problem(
            "missing: this Coordinator's TEE has no seal key, so that after a restart only recovery opens the state; \
             expected at least one recovery key, or Config.SealMode Disabled",
        );
    }
    let infrastructures: BTreeMap<_, _> = infrastructures::read(&infrastructure_section, unusable)
        .into_iter()
        .collect();

    let others = marbles::Others {
        packages: &package_section,
        roles: &role_section,
        tls: &tls_section,
        tags: &tags,
    };
    let mut contents = Contents::new(&specs);
    let marbles: BTreeMap<_, _> = marbles::read(&marble_section, &others, &mut contents)?
        .into_iter()
        .collect();
    let used: std::collections::HashSet<_> = marbles.values().map(|marble| &marble.package).collect();
    let packages = packages::read(&package_section, |name| used.contains(name), unusable)
        .into_iter()
        .collect();
    if !infrastructures.is_empty() {
        packages::check_platforms(&package_section, &packages, |name| used.contains(name));
    }
    drop(used);
    drop(contents);

    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, &raw).as_ref());
    Ok(Some(Manifest {
        raw,
        fingerprint,
        packages,
        infrastructures,
        template_index: TemplateIndex::of(&marbles, &specs),
        marbles,
        secrets: specs,
        users,
        user_index,
        roles,
        recovery_keys,
        tls: tags,
        config,
    }))
}
