//! `Infrastructures`: the platforms marbles may run on.

use super::field::Field;
use super::model::{Infrastructure, Name};
use super::report::WarningKind;
use super::section::Section;

const FIELDS: &[&str] = &["CPUSVN", "QESVN", "PCESVN", "RootCA"];

/// Reads the section.
pub(super) fn read(section: &Section<'_, '_>) -> Vec<(Name, Infrastructure)> {
    section
        .entries
        .iter()
        .filter_map(|(name, field)| Some((name.clone(), infrastructure(field)?)))
        .collect()
}

fn infrastructure(field: &Field<'_, '_>) -> Option<Infrastructure> {
    let object = field.object(FIELDS).ok()?;
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
    if FIELDS.iter().all(|name| object.field(name).is_zero()) {
        field.warn(
            WarningKind::NoEffect,
            "no property is given: every platform complies with this entry",
        );
    }
    Some(read)
}

/// Zero as a minimum asks for nothing.
fn version(field: &Field<'_, '_>) -> Option<u16> {
    let number = field.number(u64::from(u16::MAX)).ok().flatten()?;
    u16::try_from(number).ok().filter(|number| *number > 0)
}
