//! `TDX` in a package: claims of an Intel TDX trust domain (`spec/08`).

use marblerun_attestation::TcbStatus;

use super::field::{Field, Object};
use super::model::{RTMR_FIELDS, TdxPackage};
use super::packages::{Asked, NoSuchStatus, say};
use super::report::WarningKind;

pub(super) const FIELDS: &[&str] = &[
    "MRTD",
    "RTMR0",
    "RTMR1",
    "RTMR2",
    "RTMR3",
    "MRSEAM",
    "MRCONFIGID",
    "MROWNER",
    "MROWNERCONFIG",
    "Debug",
    "AcceptedTCBStatuses",
    "AcceptedAdvisories",
];

/// Without these a package says nothing about the software in the trust domain.
const REQUIRED: &[&str] = &["MRTD", "RTMR0", "RTMR1", "RTMR2"];

/// Reads the object; `None`: it names no claim.
pub(super) fn read(field: &Field<'_, '_>, asked: &Asked) -> Option<TdxPackage> {
    let before = field.report.problem_count();
    let object = field.whole_object(FIELDS).ok()?;
    let measured = |name| object.field(name).hex::<48>().ok().flatten();
    let package = TdxPackage {
        mrtd: measured("MRTD"),
        rtmr: RTMR_FIELDS.map(measured),
        mr_seam: measured("MRSEAM"),
        mr_config_id: measured("MRCONFIGID"),
        mr_owner: measured("MROWNER"),
        mr_owner_config: measured("MROWNERCONFIG"),
        debug: object.field("Debug").given_flag(),
        accepted_tcb_statuses: statuses(&object.field("AcceptedTCBStatuses")),
        accepted_advisories: advisories(&object.field("AcceptedAdvisories")),
    };
    let strict = asked.used && !package.debug.unwrap_or(asked.debug);
    let blank = field.is_blank();
    if blank && !(strict && asked.empty) {
        field.warn(
            WarningKind::NoEffect,
            "no claim is given: TDX evidence never matches this package",
        );
    } else if field.report.problem_count() == before {
        // A field of the wrong type is not also missing.
        require(&object, strict, asked);
    }
    (!blank).then_some(package)
}

fn require(object: &Object<'_, '_>, strict: bool, asked: &Asked) {
    for name in REQUIRED {
        if object.field(name).is_zero() {
            say(
                object,
                Some(name),
                "missing: MRTD and RTMR0 to RTMR2 say which software is meant",
                strict,
                asked.used,
            );
        }
    }
}

fn statuses(field: &Field<'_, '_>) -> Vec<String> {
    let texts = field.texts();
    for (item, text) in &texts {
        if text.parse::<TcbStatus>().is_err() {
            item.problem(NoSuchStatus);
        }
    }
    texts.iter().map(|(_, text)| (*text).to_owned()).collect()
}

fn advisories(field: &Field<'_, '_>) -> Vec<String> {
    let texts = field.texts();
    for (item, text) in &texts {
        if text.is_empty() {
            item.problem("expected the id of an advisory, such as INTEL-SA-00615, found an empty string");
        }
    }
    texts.iter().map(|(_, text)| (*text).to_owned()).collect()
}
