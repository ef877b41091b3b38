//! What is shown of two looks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::scrape::Scrape;

/// What a terminal has room for.
#[derive(Clone, Copy)]
pub struct Room {
    pub rows: usize,
    pub columns: usize,
}

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
            collateral_age: age.filter(|age| age.abs() < 1e12),
        }
    }

    /// For people. The busiest come first; where there is no room for all, the rest of them is a number.
    pub fn text(&self, room: Option<Room>) -> String {
        let phase = match self.phase {
            1 => "1, recovery",
            2 => "2, accepting a manifest",
            3 => "3, accepting marbles",
            _ => "unknown",
        };
        let mode = if self.simulated { "   SIMULATION" } else { "" };
        let age = match self.collateral_age {
            None => "none is relied on".to_owned(),
            Some(seconds) => format!("{:.1} days old", seconds / 86_400.0),
        };
        let mut lines = vec![
            format!("phase       {phase}{mode}"),
            format!("state       {} bytes", count(self.state_bytes)),
            format!("commits     {}", self.commits.text()),
            format!("collateral  {age}"),
        ];
        let mut types: Vec<_> = self.activations.iter().collect();
        types.sort_by(|one, other| busier((one.per_second, one.total), (other.per_second, other.total)));
        let types: Vec<_> = types.into_iter().map(Activations::line).collect();
        let mut reasons: Vec<_> = self.refusals.iter().collect();
        reasons.sort_by(|one, other| busier((one.per_second, one.total), (other.per_second, other.total)));
        let reasons: Vec<_> = reasons.into_iter().map(Counted::line).collect();
        // Both lists have an empty line and a heading.
        let free = room.map_or(usize::MAX, |room| room.rows.saturating_sub(lines.len() + 4));
        let for_reasons = reasons
            .len()
            .min((free / 2).max(free.saturating_sub(types.len())));
        let for_types = free.saturating_sub(for_reasons);
        lines.extend([
            String::new(),
            row("ACTIVATIONS OF", "SUCCEEDED", "FAILED", "A SECOND"),
        ]);
        lines.extend(listed(types, for_types));
        lines.extend([String::new(), row("REFUSED AS", "REQUESTS", "", "A SECOND")]);
        lines.extend(listed(reasons, for_reasons));
        let columns = room.map_or(usize::MAX, |room| room.columns);
        let cut = |line: String| line.chars().take(columns).collect::<String>();
        // Where there is not even room for this, what comes first is what matters most.
        let shown = lines.into_iter().take(room.map_or(usize::MAX, |room| room.rows));
        shown.map(cut).collect::<Vec<_>>().join("\n")
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

impl Activations {
    fn line(&self) -> String {
        let (succeeded, failed) = (count(self.succeeded), count(self.total - self.succeeded));
        row(&self.marble_type, &succeeded, &failed, &speed(self.per_second))
    }
}

impl Counted {
    fn line(&self) -> String {
        row(&self.what, &count(self.total), "", &speed(self.per_second))
    }
}

fn row(name: &str, one: &str, other: &str, per_second: &str) -> String {
    const WIDTH: usize = 30;
    let name = if name.chars().count() > WIDTH {
        name.chars().take(WIDTH - 1).chain(['…']).collect()
    } else {
        name.to_owned()
    };
    format!("{name:<WIDTH$} {one:>12} {other:>12} {per_second:>12}")
}

/// As many as there is room for; where that is not all, the last place tells how many more there are.
fn listed(mut lines: Vec<String>, room: usize) -> Vec<String> {
    if lines.len() > room {
        let shown = room.saturating_sub(1);
        let more = lines.len() - shown;
        lines.truncate(shown);
        lines.push(format!("… and {more} more"));
    }
    lines
}

/// Which comes first: by what happens now, then by what has happened.
fn busier(one: (f64, f64), other: (f64, f64)) -> std::cmp::Ordering {
    other.0.total_cmp(&one.0).then(other.1.total_cmp(&one.1))
}

/// A number of things; what can be none is a question mark.
fn count(number: f64) -> String {
    if (0.0..1e15).contains(&number) {
        format!("{number:.0}")
    } else {
        "?".to_owned()
    }
}

fn speed(per_second: f64) -> String {
    if (0.0..1e9).contains(&per_second) {
        format!("{per_second:.1}")
    } else {
        "?".to_owned()
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
            Some(seconds) if (0.0..1e6).contains(&seconds) => {
                // Decimal fractions that binary ones are not exactly.
                format!("at most {} ms", (seconds * 1e6).round() / 1e3)
            }
            _ => "unknown".to_owned(),
        };
        format!(
            "{}, {} a second; half of them {}, 99 of 100 {}",
            count(self.total),
            speed(self.per_second),
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
        let text = View::between(&at(begin, BEFORE), &at(begin + Duration::from_secs(2), NOW)).text(None);
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

    #[test]
    fn a_terminal_shows_the_busiest_and_how_many_more_there_are() {
        let begin = Instant::now();
        let metrics = |busy: u32| {
            let mut text =
                format!("coordinator_state 3\ncoordinator_marble_activations_total{{type=\"t7\"}} {busy}\n");
            for number in 0..1000 {
                let idle = format!(
                    "coordinator_marble_activations_total{{type=\"t{number}{}\"}} 1\n",
                    "x".repeat(50)
                );
                text.push_str(&idle);
            }
            for number in 0..30 {
                let refused = format!("coordinator_refusals_total{{reason=\"r{number}\"}} {number}\n");
                text.push_str(&refused);
            }
            text
        };
        let now = at(begin + Duration::from_secs(2), &metrics(9));
        let view = View::between(&at(begin, &metrics(3)), &now);
        let room = Room {
            rows: 24,
            columns: 60,
        };
        let text = view.text(Some(room));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 24, "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 60), "{text}");
        assert!(lines[0].starts_with("phase       3"));
        assert!(lines[6].starts_with("t7 "), "{text}");
        assert!(lines[7].contains("x… "), "{text}");
        assert_eq!(lines[13], "… and 994 more");
        assert!(lines[16].starts_with("r29 "), "{text}");
        assert_eq!(lines[23], "… and 22 more");
        assert_eq!(view.text(None).lines().count(), 8 + 1001 + 29);
        // Where there is next to no room, not more is printed either.
        for rows in 0..12 {
            let text = view.text(Some(Room { rows, columns: 60 }));
            assert!(text.lines().count() <= rows, "{rows}: {text}");
            let _ = view.text(Some(Room { rows, columns: 0 }));
        }
    }

    #[test]
    fn numbers_that_are_none_are_not_printed() {
        let begin = Instant::now();
        let text = "coordinator_state 1e300\ncoordinator_state_bytes NaN\ncoordinator_collateral_age_seconds -1e300\ncoordinator_marble_activations_total{type=\"a\"} 1e308\ncoordinator_marble_activations_success_total{type=\"a\"} -5\ncoordinator_refusals_total{reason=\"b\"} inf\ncoordinator_commit_duration_seconds_count 1e300\ncoordinator_commit_duration_seconds_bucket{le=\"1e300\"} 1\n";
        let before = at(begin, "coordinator_state 3\n");
        let view = View::between(&before, &at(begin + Duration::from_secs(1), text));
        let text = view.text(None);
        assert!(text.lines().all(|line| line.len() < 80), "{text}");
        assert!(
            text.contains('?') && !text.contains("inf") && !text.contains("NaN"),
            "{text}"
        );
    }
}
