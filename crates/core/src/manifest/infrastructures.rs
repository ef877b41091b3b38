//! `Infrastructures`: the platforms marbles may run on.

use marblerun_attestation::policy::misspelled;

use super::field::Field;
use super::model::{Infrastructure, Name};
use super::report::{Unusable, WarningKind};
use super::section::Section;

const FIELDS: &[&str] = &["CPUSVN", "QESVN", "PCESVN", "RootCA"];

/// Reads the section. An entry in which nothing can be used is a problem, as every Intel platform would comply with it,
/// unless the manifest is in force already.
pub(super) fn read(section: &Section<'_, '_>, unusable: Unusable) -> Vec<(Name, Infrastructure)> {
    section
        .entries
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), infrastructure(field, unusable)?)))
        .collect()
}

fn infrastructure(field: &Field<'_, '_>, unusable: Unusable) -> Option<Infrastructure> {
    let before = field.report.problem_count();
    let meant = |name: &str| misspelled(FIELDS, name).map(str::to_owned);
    let object = field.references(FIELDS, unusable, meant).ok()?;
    let cpu_svn = object.field("CPUSVN");
    let bytes = cpu_svn.bytes().ok().flatten();
    if let Some(bytes) = bytes.as_ref().filter(|bytes| bytes.len() != 16) {
        cpu_svn.problem(format_args!("expected 16 bytes, found {}", bytes.len()));
    }
    let read = Infrastructure {
        cpu_svn: bytes,
        qe_svn: version(&object.field("QESVN")),
        pce_svn: version(&object.field("PCESVN")),
        root_ca: object.field("RootCA").bytes().ok().flatten(),
    };
    let nothing = FIELDS.iter().all(|name| object.field(name).is_zero());
    if nothing && field.report.problem_count() > before {
        // Something was meant, and the report says so.
    } else if nothing && object.has_unknown && unusable == Unusable::IsAProblem {
        let known = FIELDS.join(", ");
        field.problem(format_args!(
            "none of its properties is known: every Intel platform would comply with it; expected some of {known}"
        ));
    } else if nothing {
        field.warn(
            WarningKind::NoEffect,
            "no property is given: every Intel platform complies with this entry",
        );
    }
    Some(read)
}

/// Zero as a minimum asks for nothing.
fn version(field: &Field<'_, '_>) -> Option<u16> {
    let number = field.number(u64::from(u16::MAX)).ok().flatten()?;
    u16::try_from(number).ok().filter(|number| *number > 0)
}
