//! Package updates: documents that only raise security versions (`spec/05`, "Update rules").

use std::collections::BTreeMap;

use super::Limits;
use super::compile::SECTIONS;
use super::document::parse;
use super::field::{Field, Names};
use super::model::Name;
use super::packages::{MOST_OF_AN_ENCLAVE, NoEnclaveHas};
use super::report::{ManifestError, Report};

const FIELDS: &[&str] = &[
    "UniqueID",
    "SignerID",
    "ProductID",
    "SecurityVersion",
    "Debug",
    "AcceptedTCBStatuses",
    "AcceptedAdvisories",
    "TDX",
    "SNP",
];

/// The security versions a document asks for, by package, if it is a package update: one whose only section
/// with entries is `Packages`, `Config` not counted. `None`: it is to be checked as a whole manifest.
///
/// Whether the packages exist and who may raise them is not known here.
///
/// # Errors
/// As for [`super::check`]; and a package update that gives anything but `SecurityVersion`, or does not give it.
pub fn package_update(raw: &[u8], limits: &Limits) -> Result<Option<BTreeMap<Name, u64>>, ManifestError> {
    let document = parse(raw, Some(limits))?;
    let report = Report::default();
    let root_field = Field::root(&document, &report);
    let Ok(root) = root_field.object(SECTIONS) else {
        return report.finish().map(|_| None);
    };
    let is_other = |name: &str| !matches!(name, "Packages" | "Config");
    let others = SECTIONS
        .iter()
        .any(|name| is_other(name) && root.field(name).has_entries());
    if others || !root.field("Packages").has_entries() {
        return Ok(None);
    }
    let packages = root.field("Packages");
    let mut versions = BTreeMap::new();
    for (name, field) in packages.entries(Names::Ordinary) {
        if let Some(version) = version(&field) {
            versions.insert(Name::from(name), version);
        }
    }
    report.finish()?;
    Ok(Some(versions))
}

/// The security versions that a manifest's bytes give to its packages; those of a manifest that was accepted.
pub(crate) fn security_versions(raw: &[u8]) -> BTreeMap<Name, u64> {
    let report = Report::default();
    let read = |document| {
        let root_field = Field::root(&document, &report);
        let root = root_field.object(SECTIONS).ok()?;
        let packages = root.field("Packages");
        let version = |field: &Field<'_, '_>| {
            let object = field.object(FIELDS).ok()?;
            object.field("SecurityVersion").number(u64::MAX).ok()?
        };
        let versions = packages
            .entries(Names::Ordinary)
            .into_iter()
            .filter_map(|(name, field)| Some((Name::from(name), version(&field)?)))
            .collect();
        Some(versions)
    };
    parse(raw, None).ok().and_then(read).unwrap_or_default()
}

fn version(field: &Field<'_, '_>) -> Option<u64> {
    let object = field.object(FIELDS).ok()?;
    for name in FIELDS.iter().filter(|name| **name != "SecurityVersion") {
        let other = object.field(name);
        if !other.is_blank() {
            other.problem("an update of packages can set SecurityVersion only");
        }
    }
    let version = object.field("SecurityVersion");
    let number = version.number(u64::MAX).ok()?;
    match number {
        None => drop(version.problem("missing: expected the security version to set")),
        Some(number) if number > MOST_OF_AN_ENCLAVE => drop(version.problem(NoEnclaveHas(number))),
        Some(_) => {}
    }
    number
}
