//! Each measure: how it is taken, and what it has to reach.

mod activating;
mod asking;
mod whole;

use std::time::Duration;

use serde_json::Value;

use super::deployment::{Programs, number};
use super::{Extent, Measure};

type Take = fn(&Programs, Extent) -> anyhow::Result<Vec<Measure>>;

/// All measures, in the order in which they are taken.
pub const ALL: &[(&str, Take)] = &[
    ("P1 P2 P3 activation", activating::activation),
    ("P4 flatness", activating::flatness),
    ("P5 budget", activating::budget),
    ("P6 commits", asking::commits),
    ("P7 open loop", activating::open_loop),
    ("P8 status beside activations", asking::status_beside_activations),
    ("P9 reading", asking::reading),
    ("P10 writing", asking::writing),
    ("P11 manifests", whole::manifests),
    ("P12 start", whole::start),
    ("P13 memory", whole::memory),
    ("P14 growth", activating::growth),
    ("P15 P16 sizes", whole::sizes),
];

/// Requests at a time where processor time counts: each alone would mostly cost what it takes to wake threads on a machine
/// that has nothing to do.
const AT_A_TIME: &str = "8";
const SIMULATION: &str = "--simulation-strict";
const P384: [&str; 3] = [SIMULATION, "--crypto-suite", "p384-aes256"];
const QUOTE: [&str; 2] = ["--quote", "sgx"];

/// A number with its target: at most that.
pub fn at_most(number: &'static str, what: &str, limit: f64, found: f64, unit: &str, raw: Value) -> Measure {
    let shown = |value: f64| {
        if value < 10.0 {
            format!("{value:.2} {unit}")
        } else {
            format!("{value:.0} {unit}")
        }
    };
    Measure {
        number,
        what: what.to_owned(),
        target: format!("≤ {}", shown(limit)),
        reached: shown(found),
        met: found <= limit,
        raw,
    }
}

/// At least that.
pub fn at_least(number: &'static str, what: &str, limit: f64, found: f64, unit: &str, raw: Value) -> Measure {
    Measure {
        target: format!("≥ {limit:.0} {unit}"),
        met: found >= limit,
        ..at_most(number, what, limit, found, unit, raw)
    }
}

/// The middle one; no number if there is none.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The median of a number over the rounds, and all reports.
fn repeated(
    extent: Extent,
    name: &str,
    mut take: impl FnMut() -> anyhow::Result<Value>,
) -> anyhow::Result<(f64, Vec<Value>)> {
    let reports: Vec<Value> = (0..extent.rounds)
        .map(|_| take())
        .collect::<anyhow::Result<_>>()?;
    let numbers = reports
        .iter()
        .map(|report| number(report, name))
        .collect::<anyhow::Result<_>>()?;
    Ok((median(numbers), reports))
}

fn count(extent: Extent) -> [String; 2] {
    ["-n".to_owned(), extent.operations.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_held_against_what_was_reached() {
        assert!(at_most("P1", "", 10.0, 10.0, "µs", Value::Null).met);
        assert!(!at_most("P1", "", 10.0, 10.1, "µs", Value::Null).met);
        assert!(at_least("P3", "", 10.0, 10.0, "/s", Value::Null).met);
        assert!(!at_least("P3", "", 10.0, 9.9, "/s", Value::Null).met);
        assert!(!at_most("P1", "", 10.0, f64::NAN, "µs", Value::Null).met);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
