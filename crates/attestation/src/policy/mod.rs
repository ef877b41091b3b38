//! Rules that verified claims are held against: how one rule is told, and the rules that both a Coordinator (packages
//! of its manifest) and a client (what it expects of a Coordinator) hold evidence against, [`tcb`] and
//! [`SgxEnclave`].
//!
//! Whoever has rules tells them one by one, in the order of their importance, to a [`Judge`]. [`FirstBroken`] stops
//! at the first rule that is not kept and makes no text before that; [`EveryRule`] writes all of them down.

mod sgx;
mod snp;
mod spelling;
pub mod tcb;

use std::fmt;
use std::ops::ControlFlow;

pub use self::sgx::{DebugRule, SgxEnclave, sgx_enclave};
pub use self::snp::{SnpMinimumTcb, snp_minimum_tcb, snp_product};
pub use self::spelling::misspelled;

/// One rule and what became of it. The rule is public and the evidence the caller's own, so all of it may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleOutcome {
    /// The rule, by its path in the document that gives it: `Packages.frontend.SecurityVersion`.
    pub rule: String,
    /// What the rule asks for.
    pub expected: String,
    /// What the evidence shows.
    pub found: String,
    /// Whether the one goes with the other.
    pub verdict: Verdict,
}

impl RuleOutcome {
    /// Whether the rule is not kept.
    pub fn is_broken(&self) -> bool {
        self.verdict == Verdict::Broken
    }
}

impl fmt::Display for RuleOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            expected,
            found,
            verdict,
        } = self;
        write!(formatter, "{rule}: {verdict}: expected {expected}, found {found}")
    }
}

/// Whether a rule is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The evidence shows what the rule asks for.
    Kept,
    /// It does not.
    Broken,
}

impl Verdict {
    /// `kept` or `broken`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Who is told rules. Nothing is text yet when it is told.
pub trait Judge {
    /// Hears one rule; `Break` when no more need be told.
    fn hear(
        &mut self,
        rule: &RulePath<'_>,
        verdict: Verdict,
        expected: &dyn fmt::Display,
        found: &dyn fmt::Display,
    ) -> ControlFlow<()>;
}

/// Keeps the first rule that is broken, and stops there.
#[derive(Debug, Default)]
pub struct FirstBroken(Option<RuleOutcome>);

impl FirstBroken {
    /// Whether all rules that were told are kept.
    ///
    /// # Errors
    /// The first that is not.
    pub fn into_result(self) -> Result<(), RuleOutcome> {
        self.0.map_or(Ok(()), Err)
    }
}

impl Judge for FirstBroken {
    fn hear(
        &mut self,
        rule: &RulePath<'_>,
        verdict: Verdict,
        expected: &dyn fmt::Display,
        found: &dyn fmt::Display,
    ) -> ControlFlow<()> {
        match verdict {
            Verdict::Kept => ControlFlow::Continue(()),
            Verdict::Broken => {
                self.0
                    .get_or_insert_with(|| written(rule, verdict, expected, found));
                ControlFlow::Break(())
            }
        }
    }
}

/// Keeps every rule.
#[derive(Debug, Default)]
pub struct EveryRule(Vec<RuleOutcome>);

impl EveryRule {
    /// The rules in the order they were told.
    pub fn into_outcomes(self) -> Vec<RuleOutcome> {
        self.0
    }
}

impl Judge for EveryRule {
    fn hear(
        &mut self,
        rule: &RulePath<'_>,
        verdict: Verdict,
        expected: &dyn fmt::Display,
        found: &dyn fmt::Display,
    ) -> ControlFlow<()> {
        self.0.push(written(rule, verdict, expected, found));
        ControlFlow::Continue(())
    }
}

fn written(
    rule: &RulePath<'_>,
    verdict: Verdict,
    expected: &dyn fmt::Display,
    found: &dyn fmt::Display,
) -> RuleOutcome {
    RuleOutcome {
        rule: rule.to_string(),
        expected: expected.to_string(),
        found: found.to_string(),
        verdict,
    }
}

/// Where a rule stands. Made on the stack; becomes text only when something is said about the rule.
#[derive(Clone, Copy)]
pub struct RulePath<'p> {
    parent: Option<&'p RulePath<'p>>,
    step: &'p str,
}

impl fmt::Display for RulePath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
            if !parent.step.is_empty() {
                formatter.write_str(".")?;
            }
        }
        formatter.write_str(self.step)
    }
}

impl fmt::Debug for RulePath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Tells the rules of one object to a judge.
pub struct Rules<'r> {
    judge: &'r mut (dyn Judge + 'r),
    at: RulePath<'r>,
}

impl<'r> Rules<'r> {
    /// Rules of the document itself.
    pub fn of_document(judge: &'r mut (dyn Judge + 'r)) -> Self {
        Self {
            judge,
            at: RulePath {
                parent: None,
                step: "",
            },
        }
    }

    /// Rules of an object in this one.
    pub fn below<'s>(&'s mut self, step: &'s str) -> Rules<'s> {
        Rules {
            judge: &mut *self.judge,
            at: RulePath {
                parent: Some(&self.at),
                step,
            },
        }
    }

    /// The rule `field`, or with an empty name the object itself.
    pub fn tell(
        &mut self,
        field: &str,
        kept: bool,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> ControlFlow<()> {
        let verdict = if kept { Verdict::Kept } else { Verdict::Broken };
        let below = RulePath {
            parent: Some(&self.at),
            step: field,
        };
        let rule = if field.is_empty() { &self.at } else { &below };
        self.judge.hear(rule, verdict, &expected, &found)
    }

    /// Two values that have to be equal.
    pub fn equal<T: PartialEq + fmt::Display>(
        &mut self,
        field: &str,
        expected: T,
        found: T,
    ) -> ControlFlow<()> {
        let kept = expected == found;
        self.tell(field, kept, expected, found)
    }

    /// A value with a minimum.
    pub fn at_least<T: PartialOrd + fmt::Display + Copy>(
        &mut self,
        field: &str,
        minimum: T,
        found: T,
    ) -> ControlFlow<()> {
        let kept = found >= minimum;
        self.tell(field, kept, format_args!("at least {minimum}"), found)
    }

    /// Bytes that have to be equal, shown in hex.
    pub fn equal_bytes(&mut self, field: &str, expected: &[u8], found: &[u8]) -> ControlFlow<()> {
        self.tell(field, expected == found, Hex(expected), Hex(found))
    }

    /// Bytes that have to be those of a text in hex, ignoring case. A text that is no hex equals no bytes.
    pub fn equal_hex(&mut self, field: &str, expected: &str, found: &[u8]) -> ControlFlow<()> {
        let kept = expected.len() == 2 * found.len()
            && expected
                .bytes()
                .zip(found.iter().flat_map(|byte| [byte >> 4, byte & 0xF]))
                .all(|(digit, nibble)| char::from(digit).to_digit(16) == Some(u32::from(nibble)));
        self.tell(field, kept, expected, Hex(found))
    }
}

/// Bytes as hex digits, lower case.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rules: impl FnOnce(&mut Rules<'_>) -> ControlFlow<()>) -> Vec<String> {
        let mut judge = EveryRule::default();
        assert!(rules(&mut Rules::of_document(&mut judge)).is_continue());
        judge.into_outcomes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_are_told_by_their_paths() {
        let told = all(|rules| {
            rules.equal("A", 1, 1)?;
            let mut packages = rules.below("Packages");
            let mut package = packages.below("p");
            package.at_least("Version", 3, 2)?;
            package.tell("", false, "something", "nothing")
        });
        assert_eq!(
            told,
            [
                "A: kept: expected 1, found 1",
                "Packages.p.Version: broken: expected at least 3, found 2",
                "Packages.p: broken: expected something, found nothing",
            ]
        );
    }

    #[test]
    fn the_first_broken_rule_ends_it() {
        let mut judge = FirstBroken::default();
        let mut rules = Rules::of_document(&mut judge);
        assert!(rules.equal("A", 1, 1).is_continue());
        assert!(rules.equal("B", 1, 2).is_break());
        assert!(rules.equal("C", 1, 2).is_break());
        assert_eq!(judge.into_result().unwrap_err().rule, "B");
        assert_eq!(FirstBroken::default().into_result(), Ok(()));
    }

    #[test]
    fn texts_in_hex_equal_the_bytes_they_mean() {
        for (expected, found, kept) in [
            ("", &[][..], true),
            ("00ff", &[0, 255], true),
            ("00Ff", &[0, 255], true),
            ("00fe", &[0, 255], false),
            ("00f", &[0, 255], false),
            ("00ff00", &[0, 255], false),
            ("0 ff", &[0, 255], false),
            ("+0ff", &[0, 255], false),
            ("0\u{e9}f", &[0, 255], false),
        ] {
            let told = all(|rules| rules.equal_hex("Id", expected, found));
            assert_eq!(told[0].starts_with("Id: kept"), kept, "{told:?}");
        }
        assert_eq!(
            all(|rules| rules.equal_bytes("Id", &[0xAB, 1], &[0xAB, 2])),
            ["Id: broken: expected ab01, found ab02"]
        );
    }
}
