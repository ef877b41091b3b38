//! What is shown of two looks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::scrape::Scrape;

/// What went on between two looks.
pub struct View {
    phase: u8,
    simulated: bool,
    state_bytes: f64,
    activations: Vec<Activations>,
    refusals: Vec<Counted>,
    commits: Commits,
    /// Seconds; `None`: none is relied on.
    collateral_age: Option<f64>,
}

struct Activations {
    marble_type: String,
    total: f64,
    succeeded: f64,
    per_second: f64,
}

struct Counted {
    what: String,
    total: f64,
    per_second: f64,
}

struct Commits {
    total: f64,
    per_second: f64,
    /// Seconds that half of them, and 99 of 100, do not exceed; of those between the looks, or of all.
    half: Option<f64>,
    most: Option<f64>,
}

impl View {
    /// Of a look, and one before it.
    pub fn between(before: &Scrape, now: &Scrape) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        // A counter that went back began anew.
        let rate = |before: f64, now: f64| match now - before {
            more if more >= 0.0 && seconds > 0.0 => more / seconds,
            _ => 0.0,
        };
        let rates = |name: &str, label: &str| {
            let earlier = before.by(name, label);
            let later = now.by(name, label);
            later.into_iter().map(move |(what, total)| {
                let per_second = rate(earlier.get(&what).copied().unwrap_or(0.0), total);
                Counted {
                    what,
                    total,
                    per_second,
                }
            })
        };
        let succeeded = now.by("coordinator_marble_activations_success_total", "type");
        let activations = rates("coordinator_marble_activations_total", "type").map(|counted| Activations {
            succeeded: succeeded.get(&counted.what).copied().unwrap_or(0.0),
            marble_type: counted.what,
            total: counted.total,
            per_second: counted.per_second,
        });
        let refusals = rates("coordinator_refusals_total", "reason").filter(|refused| refused.total > 0.0);
        let age = now.value("coordinator_collateral_age_seconds");
        Self {
            phase: now.value("coordinator_state").map_or(0, |phase| phase as u8),
            simulated: now.says("mode", "SIMULATION"),
            state_bytes: now.value("coordinator_state_bytes").unwrap_or(0.0),
            activations: activations.collect(),
            refusals: refusals.collect(),
            commits: Commits::between(before, now, rate),
            collateral_age: age.filter(|age| !age.is_nan()),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let phase = match self.phase {
            1 => "1, recovery",
            2 => "2, accepting a manifest",
            3 => "3, accepting marbles",
            _ => "unknown",
        };
        let mode = if self.simulated { "   SIMULATION" } else { "" };
        let mut text = format!("phase       {phase}{mode}\n");
        let _ = writeln!(text, "state       {} bytes", self.state_bytes);
        let _ = writeln!(text, "commits     {}", self.commits.text());
        let age = match self.collateral_age {
            None => "none is relied on".to_owned(),
            Some(seconds) => format!("{:.1} days old", seconds / 86_400.0),
        };
        let _ = writeln!(text, "collateral  {age}");
        let _ = writeln!(
            text,
            "\n{:<30} {:>12} {:>12} {:>12}",
            "ACTIVATIONS OF", "SUCCEEDED", "FAILED", "A SECOND"
        );
        for of in &self.activations {
            let failed = of.total - of.succeeded;
            let _ = writeln!(
                text,
                "{:<30} {:>12} {failed:>12} {:>12.1}",
                of.marble_type, of.succeeded, of.per_second
            );
        }
        let _ = writeln!(
            text,
            "\n{:<30} {:>12} {:>12} {:>12}",
            "REFUSED AS", "REQUESTS", "", "A SECOND"
        );
        for refused in &self.refusals {
            let _ = writeln!(
                text,
                "{:<30} {:>12} {:>12} {:>12.1}",
                refused.what, refused.total, "", refused.per_second
            );
        }
        text.trim_end().to_owned()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let activations = self.activations.iter().map(|of| {
            json!({
                "type": of.marble_type,
                "asked": of.total,
                "succeeded": of.succeeded,
                "perSecond": of.per_second,
            })
        });
        let refusals = self.refusals.iter().map(|refused| {
            json!({"reason": refused.what, "requests": refused.total, "perSecond": refused.per_second})
        });
        json!({
            "phase": self.phase,
            "simulation": self.simulated,
            "stateBytes": self.state_bytes,
            "commits": {
                "total": self.commits.total,
                "perSecond": self.commits.per_second,
                "p50Seconds": self.commits.half,
                "p99Seconds": self.commits.most,
            },
            "collateralAgeSeconds": self.collateral_age,
            "activations": activations.collect::<Vec<_>>(),
            "refusals": refusals.collect::<Vec<_>>(),
        })
    }
}

impl Commits {
    fn between(before: &Scrape, now: &Scrape, rate: impl Fn(f64, f64) -> f64) -> Self {
        const NAME: &str = "coordinator_commit_duration_seconds";
        let count = |scrape: &Scrape| scrape.value(&format!("{NAME}_count")).unwrap_or(0.0);
        let buckets = |scrape: &Scrape| scrape.by(&format!("{NAME}_bucket"), "le");
        let mut within = buckets(now);
        if count(now) > count(before) {
            for (bound, earlier) in buckets(before) {
                *within.entry(bound).or_insert(0.0) -= earlier;
            }
        }
        Self {
            total: count(now),
            per_second: rate(count(before), count(now)),
            half: quantile(&within, 0.5),
            most: quantile(&within, 0.99),
        }
    }

    fn text(&self) -> String {
        let milliseconds = |bound: Option<f64>| match bound {
            Some(seconds) if seconds.is_finite() => format!("at most {} ms", seconds * 1e3),
            _ => "unknown".to_owned(),
        };
        let Self {
            total, per_second, ..
        } = self;
        format!(
            "{total}, {per_second:.1} a second; half of them {}, 99 of 100 {}",
            milliseconds(self.half),
            milliseconds(self.most)
        )
    }
}

/// The bound of the bucket in which a quantile lies; `within` has the number of those up to each bound.
fn quantile(within: &BTreeMap<String, f64>, quantile: f64) -> Option<f64> {
    let mut buckets: Vec<(f64, f64)> = within
        .iter()
        .filter_map(|(bound, count)| Some((bound.parse().ok()?, *count)))
        .collect();
    buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let all = buckets
        .last()
        .map(|(_, count)| *count)
        .filter(|count| *count > 0.0)?;
    let bound = buckets.iter().find(|(_, count)| *count >= all * quantile);
    bound.map(|(bound, _)| *bound)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::scrape::at;
    use super::*;

    const BEFORE: &str = "coordinator_state 3.0\ncoordinator_collateral_age_seconds NaN\ncoordinator_marble_activations_total{type=\"web\"} 10\ncoordinator_marble_activations_success_total{type=\"web\"} 9\ncoordinator_refusals_total{reason=\"invalid\"} 1\ncoordinator_refusals_total{reason=\"internal\"} 0\ncoordinator_commit_duration_seconds_count 4\ncoordinator_commit_duration_seconds_bucket{le=\"0.001\"} 4\ncoordinator_commit_duration_seconds_bucket{le=\"+Inf\"} 4\n";
    const NOW: &str = "coordinator_state{mode=\"SIMULATION\"} 3.0\ncoordinator_state_bytes 77\ncoordinator_collateral_age_seconds 86400\ncoordinator_marble_activations_total{type=\"web\"} 30\ncoordinator_marble_activations_success_total{type=\"web\"} 28\ncoordinator_marble_activations_total{type=\"new\"} 1\ncoordinator_refusals_total{reason=\"invalid\"} 6\ncoordinator_refusals_total{reason=\"internal\"} 0\ncoordinator_commit_duration_seconds_count 6\ncoordinator_commit_duration_seconds_bucket{le=\"0.001\"} 4\ncoordinator_commit_duration_seconds_bucket{le=\"0.004\"} 6\ncoordinator_commit_duration_seconds_bucket{le=\"+Inf\"} 6\n";

    #[test]
    fn rates_are_those_between_two_looks() {
        let begin = Instant::now();
        let before = at(begin, BEFORE);
        let now = at(begin + Duration::from_secs(2), NOW);
        let value = View::between(&before, &now).json();
        assert_eq!(
            value,
            json!({
                "phase": 3,
                "simulation": true,
                "stateBytes": 77.0,
                "commits": {"total": 6.0, "perSecond": 1.0, "p50Seconds": 0.004, "p99Seconds": 0.004},
                "collateralAgeSeconds": 86_400.0,
                "activations": [
                    {"type": "new", "asked": 1.0, "succeeded": 0.0, "perSecond": 0.5},
                    {"type": "web", "asked": 30.0, "succeeded": 28.0, "perSecond": 10.0},
                ],
                "refusals": [{"reason": "invalid", "requests": 6.0, "perSecond": 2.5}],
            })
        );
        // A Coordinator that was restarted counts from the beginning; the numbers of all commits stand for none between.
        let restarted = View::between(&now, &at(begin + Duration::from_secs(4), BEFORE));
        let value = restarted.json();
        assert_eq!(value["activations"][0]["perSecond"], 0.0);
        assert_eq!(value["commits"]["p50Seconds"], 0.001);
        assert_eq!(value["collateralAgeSeconds"], Value::Null);
    }

    #[test]
    fn the_text_has_all_of_it() {
        let begin = Instant::now();
        let text = View::between(&at(begin, BEFORE), &at(begin + Duration::from_secs(2), NOW)).text();
        for part in [
            "3, accepting marbles   SIMULATION",
            "77 bytes",
            "6, 1.0 a second; half of them at most 4 ms",
            "1.0 days old",
            "invalid",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let web = text.lines().find(|line| line.starts_with("web")).unwrap();
        assert_eq!(
            web.split_whitespace().collect::<Vec<_>>(),
            ["web", "28", "2", "10.0"]
        );
        assert!(!text.contains("internal"), "what did not happen is left out");
    }
}
