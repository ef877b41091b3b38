//! `Config`: settings of the Coordinator.

use std::collections::BTreeSet;

use super::field::Field;
use super::hsm::HsmEnvironment;
use super::model::{Config, FeatureGate, SealMode};
use super::path::Quoted;

const FIELDS: &[&str] = &[
    "SealMode",
    "UpdateThreshold",
    "RecoveryThreshold",
    "FeatureGates",
    "RotateRootSecret",
];

/// What thresholds are compared with.
pub(super) struct Counts {
    /// Users with `UpdateManifest`; `None`: not known, because of problems in `Users` or `Roles`.
    pub may_update: Option<usize>,
    /// Entries of `RecoveryKeys`.
    pub recovery_keys: usize,
}

/// Reads the section. Without `environment` it is not asked whether features can be used here.
pub(super) fn read(field: &Field<'_, '_>, counts: &Counts, environment: Option<&HsmEnvironment>) -> Config {
    let Ok(object) = field.object(FIELDS) else {
        return Config::default();
    };
    Config {
        seal_mode: seal_mode(&object.field("SealMode")),
        update_threshold: update_threshold(&object.field("UpdateThreshold"), counts),
        recovery_threshold: recovery_threshold(&object.field("RecoveryThreshold"), counts),
        feature_gates: feature_gates(&object.field("FeatureGates"), environment),
        rotate_root_secret: object.field("RotateRootSecret").flag(),
    }
}

fn seal_mode(field: &Field<'_, '_>) -> SealMode {
    match field.text() {
        Ok(None | Some("ProductKey")) | Err(_) => SealMode::ProductKey,
        Ok(Some("UniqueKey")) => SealMode::UniqueKey,
        Ok(Some("Disabled")) => SealMode::Disabled,
        Ok(Some(other)) => {
            let other = Quoted(other);
            field.problem(format_args!(
                "expected ProductKey, UniqueKey or Disabled, found {other}"
            ));
            SealMode::ProductKey
        }
    }
}

fn count(field: &Field<'_, '_>) -> usize {
    let number = field.number(u64::from(u32::MAX)).ok().flatten().unwrap_or(0);
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn update_threshold(field: &Field<'_, '_>, counts: &Counts) -> usize {
    let threshold = count(field);
    if let Some(users) = counts.may_update.filter(|users| *users < threshold) {
        field.problem(format_args!(
            "not enough users with a role that permits UpdateManifest ({users}) for a threshold of {threshold}"
        ));
    }
    threshold
}

fn recovery_threshold(field: &Field<'_, '_>, counts: &Counts) -> usize {
    let (threshold, keys) = (count(field), counts.recovery_keys);
    if threshold == 1 {
        field.problem("expected at least 2, or 0 for all keys");
    } else if threshold > keys {
        field.problem(format_args!(
            "not enough recovery keys ({keys}) for a threshold of {threshold}"
        ));
    }
    threshold
}

fn feature_gates(field: &Field<'_, '_>, environment: Option<&HsmEnvironment>) -> BTreeSet<FeatureGate> {
    const GATES: [(&str, FeatureGate); 3] = [
        ("SignQuoteEndpoint", FeatureGate::SignQuoteEndpoint),
        ("MonotonicCounter", FeatureGate::MonotonicCounter),
        ("AzureHSMSealing", FeatureGate::AzureHsmSealing),
    ];
    let mut gates = BTreeSet::new();
    for (item, text) in field.texts() {
        let Some((_, gate)) = GATES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) else {
            let (known, text) = (GATES.map(|(name, _)| name).join(", "), Quoted(text));
            item.problem(format_args!(
                "unknown feature gate {text}, expected one of {known}"
            ));
            continue;
        };
        let missing = environment.map_or(&[][..], |environment| environment.missing.as_slice());
        if *gate == FeatureGate::AzureHsmSealing && !missing.is_empty() {
            let missing = missing.join(", ");
            item.problem(format_args!(
                "AzureHSMSealing needs these environment variables to be set: {missing}"
            ));
        }
        gates.insert(*gate);
    }
    gates
}
