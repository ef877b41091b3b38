//! What is measured of a Coordinator while others are at it, and how it is told.

use std::fmt;
use std::time::{Duration, Instant};

use marblerun_wire::marble::ActivationReq;

use crate::support::program::{Program, csr, uuid};

/// What a number has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    AtMost(f64),
    Between(f64, f64),
}

impl Target {
    fn is_met_by(self, reached: f64) -> bool {
        match self {
            Self::AtMost(most) => reached <= most,
            Self::Between(least, most) => (least..=most).contains(&reached),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::Between(least, most) => write!(f, "{least} to {most}"),
        }
    }
}

/// The numbers of a campaign, each printed as it comes.
#[derive(Default)]
pub struct Report {
    missed: Vec<String>,
}

impl Report {
    /// Takes a number down.
    pub fn number(&mut self, what: &str, reached: f64, unit: &str, target: Target) {
        let met = target.is_met_by(reached);
        let verdict = if met { "" } else { "  MISSED" };
        let reached = format!(
            "{:.precision$} {unit}",
            reached,
            precision = if reached < 10.0 { 2 } else { 0 }
        );
        let line = format!("{what:<58} {reached:>12}   {target} {unit}{verdict}");
        println!("{line}");
        if !met {
            self.missed.push(line);
        }
    }

    /// Takes down what has to be one thing and nothing else.
    pub fn fact(&mut self, what: &str, found: impl fmt::Display, expected: impl fmt::Display) {
        let (found, expected) = (found.to_string(), expected.to_string());
        let verdict = if found == expected { "" } else { "  MISSED" };
        let line = format!("{what:<58} {found:>12}   {expected}{verdict}");
        println!("{line}");
        if found != expected {
            self.missed.push(line);
        }
    }

    /// Fails if a target was missed.
    pub fn conclude(self) {
        assert!(self.missed.is_empty(), "missed:\n{}", self.missed.join("\n"));
    }

    /// The targets that were missed.
    pub fn missed(&self) -> &[String] {
        &self.missed
    }
}

/// How long each of so many activations takes, one after the other, each on a new connection.
pub async fn activations(program: &Program, count: usize) -> Vec<Duration> {
    let request = csr();
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let request = ActivationReq {
            quote: Vec::new(),
            csr: request.clone(),
            marble_type: "plain".to_owned(),
            uuid: uuid(),
        };
        let began = Instant::now();
        program.marble().await.activate(request).await.unwrap();
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took
}

/// The time that 99 of 100 do not exceed, milliseconds.
pub fn p99(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times[(times.len() * 99).div_ceil(100).saturating_sub(1).min(last)].as_secs_f64() * 1e3
}

pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Resident memory of the Coordinator, megabytes of a million bytes.
pub fn megabytes(program: &Program) -> f64 {
    crate::memory::resident(program) as f64 / 1e6
}

/// By what factor activations may take longer beside others.
pub const SLOWER: f64 = 2.0;

/// By what factor something takes longer beside others than alone; `measure` answers how long alone, and beside them.
///
/// Whoever else runs on this machine counts in both: what is too much is measured anew, up to three times in all, and the least
/// of each counts, as what the others do is there each time.
pub async fn unless_slower(mut measure: impl AsyncFnMut() -> (f64, f64)) -> f64 {
    let (mut alone, mut beside) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..3 {
        let measured = measure().await;
        alone = alone.min(measured.0);
        beside = beside.min(measured.1);
        if beside / alone <= SLOWER {
            break;
        }
        println!("({alone:.2} ms alone and {beside:.2} ms beside others are measured again)");
    }
    beside / alone
}

#[test]
fn a_missed_target_is_noticed() {
    let mut report = Report::default();
    report.number("memory", 159.9, "MB", Target::AtMost(160.0));
    report.number("time", 10.2, "s", Target::Between(9.0, 12.0));
    report.fact("code", 413, 413);
    assert_eq!(report.missed().len(), 0);
    report.number("memory", 160.1, "MB", Target::AtMost(160.0));
    report.number("too late", 12.1, "s", Target::Between(9.0, 12.0));
    report.number("too early", 0.1, "s", Target::Between(9.0, 12.0));
    report.number("no number", f64::NAN, "s", Target::AtMost(1.0));
    report.fact("code", 200, 413);
    assert_eq!(report.missed().len(), 5);
    assert!(std::panic::catch_unwind(|| report.conclude()).is_err());
}

#[test]
fn the_99th_of_a_hundred_counts() {
    let times = |slow: usize| {
        let time = |n: usize| Duration::from_millis(if n < slow { 50 } else { 1 });
        (0..200).map(time).collect::<Vec<_>>()
    };
    assert_eq!((p99(times(2)), p99(times(3))), (1.0, 50.0));
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
}

#[tokio::test]
async fn what_is_too_slow_each_time_stays_so() {
    for (times, expected) in [
        (vec![(1.0, 1.5)], 1.5),
        // A busy machine: beside others, alone.
        (vec![(1.0, 3.0), (1.0, 2.0)], 2.0),
        (vec![(1.0, 2.5), (5.0, 3.0), (5.0, 3.0)], 2.5),
        (vec![(2.0, 6.0), (1.0, 3.0), (1.5, 4.5)], 3.0),
    ] {
        let mut left = times.into_iter();
        let found = unless_slower(async || left.next().unwrap()).await;
        assert_eq!((found, left.next()), (expected, None));
    }
}
