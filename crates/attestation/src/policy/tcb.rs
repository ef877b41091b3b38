//! Which ratings of an SGX or TDX platform are good enough (spec/08): a list of statuses and a list of advisories.

use std::fmt;
use std::ops::ControlFlow;

use super::{FirstBroken, RuleOutcome, Rules};
use crate::tcb::TcbStatus;

/// The name of the rule about statuses.
pub const STATUSES: &str = "AcceptedTCBStatuses";
/// The name of the rule about advisories.
pub const ADVISORIES: &str = "AcceptedAdvisories";

/// UpToDate always; others when listed by their exact spelling, an empty list standing for SWHardeningNeeded.
pub fn status(rules: &mut Rules<'_>, accepted: &[String], found: TcbStatus) -> ControlFlow<()> {
    let listed = match accepted {
        [] => found == TcbStatus::SWHardeningNeeded,
        list => list.iter().any(|accepted| accepted == found.as_str()),
    };
    let kept = found == TcbStatus::UpToDate || listed;
    rules.tell(STATUSES, kept, Statuses(accepted), found)
}

/// With SWHardeningNeeded, every advisory that goes with the rating has to be listed, ignoring case; an empty list
/// accepts all. A platform that does not say which advisories apply to it is then refused. The advisories of the platform
/// are told in any case.
pub fn advisories(
    rules: &mut Rules<'_>,
    accepted: &[String],
    rating: TcbStatus,
    found: Option<&[String]>,
) -> ControlFlow<()> {
    let expected = Only(accepted);
    if rating != TcbStatus::SWHardeningNeeded {
        let found = format_args!("{}; with {rating} none is looked at", Advisories(found));
        return rules.tell(ADVISORIES, true, expected, found);
    }
    let listed =
        |found: &String| accepted.is_empty() || accepted.iter().any(|one| one.eq_ignore_ascii_case(found));
    match found.map(|found| found.iter().find(|found| !listed(found))) {
        Some(Some(other)) => rules.tell(ADVISORIES, false, expected, other),
        Some(None) => rules.tell(ADVISORIES, true, expected, Advisories(found)),
        None => rules.tell(ADVISORIES, accepted.is_empty(), expected, Advisories(None)),
    }
}

/// Both rules at once.
///
/// # Errors
/// The first that is not kept.
pub fn accept(
    rating: TcbStatus,
    found_advisories: Option<&[String]>,
    accepted_statuses: &[String],
    accepted_advisories: &[String],
) -> Result<(), RuleOutcome> {
    let mut first = FirstBroken::default();
    let mut rules = Rules::of_document(&mut first);
    if status(&mut rules, accepted_statuses, rating).is_continue() {
        // What it says is kept by `first`.
        let _ = advisories(&mut rules, accepted_advisories, rating, found_advisories);
    }
    first.into_result()
}

struct Statuses<'a>(&'a [String]);

impl fmt::Display for Statuses<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => formatter.write_str("UpToDate or SWHardeningNeeded"),
            list => write!(formatter, "UpToDate or one of {}", Listed(list)),
        }
    }
}

struct Only<'a>(&'a [String]);

impl fmt::Display for Only<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => formatter.write_str("any"),
            list => write!(formatter, "only {}", Listed(list)),
        }
    }
}

/// Those of a platform, if it has a list of them.
struct Advisories<'a>(Option<&'a [String]>);

impl fmt::Display for Advisories<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(list) => Listed(list).fmt(formatter),
            None => formatter.write_str("no list of advisories"),
        }
    }
}

struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        for (index, text) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(", ")?;
            }
            formatter.write_str(text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn refused(rating: TcbStatus, found: Option<&[&str]>, statuses: &[&str], advisories: &[&str]) -> String {
        let found = found.map(texts);
        match accept(rating, found.as_deref(), &texts(statuses), &texts(advisories)) {
            Ok(()) => "accepted".to_owned(),
            Err(outcome) => format!(
                "{}: expected {}, found {}",
                outcome.rule, outcome.expected, outcome.found
            ),
        }
    }

    #[test]
    fn statuses_follow_the_list() {
        for status in TcbStatus::ALL {
            let default = matches!(status, TcbStatus::UpToDate | TcbStatus::SWHardeningNeeded);
            assert_eq!(refused(status, None, &[], &[]) == "accepted", default, "{status}");
            let only = matches!(status, TcbStatus::UpToDate | TcbStatus::OutOfDate);
            assert_eq!(
                refused(status, None, &["OutOfDate"], &[]) == "accepted",
                only,
                "{status}"
            );
            assert_eq!(refused(status, None, &[status.as_str()], &[]), "accepted");
        }
        assert_eq!(
            refused(TcbStatus::OutOfDate, None, &["outofdate", "Revoked"], &[]),
            "AcceptedTCBStatuses: expected UpToDate or one of outofdate, Revoked, found OutOfDate"
        );
    }

    #[test]
    fn the_advisories_of_a_platform_are_told_whatever_becomes_of_them() {
        let told = |rating, found: Option<&[&str]>, accepted: &[&str]| {
            let mut every = super::super::EveryRule::default();
            let found = found.map(texts);
            let _ = advisories(
                &mut Rules::of_document(&mut every),
                &texts(accepted),
                rating,
                found.as_deref(),
            );
            let outcomes = every.into_outcomes();
            outcomes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let hardening = TcbStatus::SWHardeningNeeded;
        let found = Some(&["INTEL-SA-1", "INTEL-SA-2"][..]);
        for (rating, found, accepted, expected) in [
            (
                hardening,
                found,
                &[][..],
                "kept: expected any, found INTEL-SA-1, INTEL-SA-2",
            ),
            (
                hardening,
                None,
                &[],
                "kept: expected any, found no list of advisories",
            ),
            (
                hardening,
                found,
                &["intel-sa-2", "INTEL-SA-1"],
                "kept: expected only intel-sa-2, INTEL-SA-1, found INTEL-SA-1, INTEL-SA-2",
            ),
            (
                hardening,
                found,
                &["INTEL-SA-1"],
                "broken: expected only INTEL-SA-1, found INTEL-SA-2",
            ),
            (
                TcbStatus::OutOfDate,
                found,
                &["INTEL-SA-1"],
                "kept: expected only INTEL-SA-1, found INTEL-SA-1, INTEL-SA-2; with OutOfDate none is looked at",
            ),
            (
                TcbStatus::UpToDate,
                Some(&[]),
                &[],
                "kept: expected any, found none; with UpToDate none is looked at",
            ),
        ] {
            assert_eq!(
                told(rating, found, accepted),
                format!("AcceptedAdvisories: {expected}")
            );
        }
    }

    #[test]
    fn advisories_follow_the_list_when_hardening_is_needed() {
        let hardening = TcbStatus::SWHardeningNeeded;
        let listed = &["INTEL-SA-1", "INTEL-SA-2"];
        assert_eq!(refused(hardening, Some(&["intel-sa-2"]), &[], listed), "accepted");
        assert_eq!(refused(hardening, Some(&[]), &[], listed), "accepted");
        assert_eq!(refused(hardening, None, &[], &[]), "accepted");
        assert_eq!(refused(TcbStatus::UpToDate, None, &[], listed), "accepted");
        assert_eq!(
            refused(hardening, Some(&["INTEL-SA-1", "INTEL-SA-3"]), &[], listed),
            "AcceptedAdvisories: expected only INTEL-SA-1, INTEL-SA-2, found INTEL-SA-3"
        );
        assert_eq!(
            refused(hardening, None, &[], listed),
            "AcceptedAdvisories: expected only INTEL-SA-1, INTEL-SA-2, found no list of advisories"
        );
    }
}
