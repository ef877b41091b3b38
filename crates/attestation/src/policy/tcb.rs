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
/// accepts all. A platform that does not say which advisories apply to it is then refused.
pub fn advisories(
    rules: &mut Rules<'_>,
    accepted: &[String],
    rating: TcbStatus,
    found: Option<&[String]>,
) -> ControlFlow<()> {
    if accepted.is_empty() {
        return ControlFlow::Continue(());
    }
    let expected = Only(accepted);
    if rating != TcbStatus::SWHardeningNeeded {
        let found = format_args!("{rating}, for which no advisory is looked at");
        return rules.tell(ADVISORIES, true, expected, found);
    }
    let Some(found) = found else {
        return rules.tell(ADVISORIES, false, expected, "no list of advisories");
    };
    let listed = |found: &String| accepted.iter().any(|one| one.eq_ignore_ascii_case(found));
    match found.iter().find(|found| !listed(found)) {
        Some(other) => rules.tell(ADVISORIES, false, expected, other),
        None => rules.tell(ADVISORIES, true, expected, Listed(found)),
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
        write!(formatter, "only {}", Listed(self.0))
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
