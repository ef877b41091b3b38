//! What a run came to, for people and for programs.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::compare::Target;
use crate::driver::{Load, Operation, Outcome};
use crate::server::Usage;

/// One run in numbers.
#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was run.
    pub what: String,
    /// Against which server.
    pub target: String,
    /// Operations.
    pub count: usize,
    /// Operations a second.
    pub rate: f64,
    /// Latency in microseconds: half of the operations took at most this.
    pub p50_micros: u64,
    /// 99 of 100.
    pub p99_micros: u64,
    /// 999 of 1,000.
    pub p999_micros: u64,
    /// The slowest.
    pub max_micros: u64,
    /// CPU time of the server for each operation, microseconds; absent without its process id.
    pub server_cpu_micros: Option<f64>,
    /// Resident memory of the server before, bytes.
    pub resident_before: Option<u64>,
    /// And after.
    pub resident_after: Option<u64>,
}

impl Report {
    /// Puts the load on a server, and tells what it came to.
    pub async fn of<O: Operation>(
        load: &Load,
        operation: &Arc<O>,
        target: &Target,
        what: &str,
    ) -> anyhow::Result<Self> {
        load.warm_up(operation).await?;
        let before = target.server.map(|server| server.usage()).transpose()?;
        let outcome = load.measure(operation, what).await?;
        let after = target.server.map(|server| server.usage()).transpose()?;
        if let (Some(before), Some(after)) = (before, after)
            && before.cpu == after.cpu
        {
            anyhow::bail!("the process of --pid did nothing meanwhile: it is not the server");
        }
        Ok(Self::new(what, &target.name, outcome, before.zip(after)))
    }

    /// Of a run and of what the server used before and after it.
    fn new(what: &str, target: &str, outcome: Outcome, usage: Option<(Usage, Usage)>) -> Self {
        let Outcome {
            mut latencies,
            elapsed,
        } = outcome;
        latencies.sort_unstable();
        let count = latencies.len();
        let micros = |share| u64::try_from(percentile(&latencies, share).as_micros()).unwrap_or(u64::MAX);
        Self {
            what: what.to_owned(),
            target: target.to_owned(),
            count,
            rate: count as f64 / elapsed.as_secs_f64().max(1e-9),
            p50_micros: micros(0.5),
            p99_micros: micros(0.99),
            p999_micros: micros(0.999),
            max_micros: micros(1.0),
            server_cpu_micros: usage.map(|(before, after)| {
                after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / count.max(1) as f64
            }),
            resident_before: usage.map(|(before, _)| before.resident),
            resident_after: usage.map(|(_, after)| after.resident),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("{} at {}", self.what, self.target),
            format!("  {} operations, {:.0} a second", self.count, self.rate),
            format!(
                "  latency: p50 {}, p99 {}, p99.9 {}, max {}",
                time(self.p50_micros),
                time(self.p99_micros),
                time(self.p999_micros),
                time(self.max_micros)
            ),
        ];
        if let Some(cpu) = self.server_cpu_micros {
            lines.push(format!("  server CPU: {cpu:.0} µs for each"));
        }
        if let (Some(before), Some(after)) = (self.resident_before, self.resident_after) {
            let mega = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            lines.push(format!(
                "  server memory: {:.1} MiB, then {:.1} MiB",
                mega(before),
                mega(after)
            ));
        }
        lines.join("\n")
    }
}

/// The least time that this share of `sorted` took at most (nearest rank).
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn time(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{micros} µs"),
        10_000..10_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let sorted: Vec<_> = (1..=1000).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 0.5), Duration::from_millis(500));
        assert_eq!(percentile(&sorted, 0.99), Duration::from_millis(990));
        assert_eq!(percentile(&sorted, 0.999), Duration::from_millis(999));
        assert_eq!(percentile(&sorted, 1.0), Duration::from_millis(1000));
        assert_eq!(percentile(&sorted[..1], 0.5), Duration::from_millis(1));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn a_report_says_what_each_operation_cost() {
        let outcome = Outcome {
            latencies: vec![Duration::from_micros(300), Duration::from_micros(100)],
            elapsed: Duration::from_secs(2),
        };
        let usage = |millis, resident| Usage {
            cpu: Duration::from_millis(millis),
            resident,
        };
        let report = Report::new(
            "activate",
            "a",
            outcome,
            Some((usage(10, 1 << 20), usage(30, 3 << 20))),
        );
        assert_eq!((report.count, report.rate), (2, 1.0));
        assert_eq!((report.p50_micros, report.max_micros), (100, 300));
        assert_eq!(report.server_cpu_micros, Some(10_000.0));
        let text = report.text();
        assert!(
            text.contains("10000 µs for each") && text.contains("1.0 MiB, then 3.0 MiB"),
            "{text}"
        );
    }
}
