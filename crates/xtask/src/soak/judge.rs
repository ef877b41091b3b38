//! Judges: each takes the samples after the warm-up, and makes one number of them, beside what it may be.

use serde_json::json;

use super::robust::{rise, thirds};
use super::sample::Sample;
use crate::bench::Measure;
use crate::bench::measures::{at_least, at_most, median};

/// What a run is held against.
pub struct Bounds {
    /// Bytes by which memory may seem to grow over the whole run although nothing is left behind: memory is handed out in
    /// pages, and an arena of the allocator comes to its size only when most work has met in it by chance. Room for that of
    /// a few arenas, less than what glibc wastes when it has as many as it likes, which is eight for each processor.
    memory_noise: f64,
    /// By what factor latency and cost may rise from the first to the last third.
    factor: f64,
    /// And by how many milliseconds of latency beside that: what one more wait for a processor takes.
    wait: f64,
}

impl Bounds {
    /// For a machine of its own.
    pub const FULL: Self = Self {
        memory_noise: 1_048_576.0,
        factor: 1.5,
        wait: 2.0,
    };
    /// For forty seconds on a machine that does much else: what is found then is large.
    pub const QUICK: Self = Self {
        memory_noise: 4.0 * 1_048_576.0,
        factor: 3.0,
        wait: 50.0,
    };
}

/// Bytes that an activation may leave behind.
const OF_ACTIVATION: f64 = 1.0;
/// The update log grows for good with each secret that is written and each update. Of each byte of it that is served,
/// there is one in the state, one in the reply that is kept ready, and spare room of vectors that grow.
const OF_LOG: f64 = 3.0;
/// Megabytes that a Coordinator of this size may take with peers of all kinds.
const MOST_MEMORY: f64 = 160.0;
/// Slow peers come and go: there may be some more of them.
const MORE_DESCRIPTORS: f64 = 10.0;
/// Threads for work that waits are made when there is more of it, and end when there was none for ten seconds.
const MORE_THREADS: f64 = 12.0;
/// The numbers in the metrics get longer, and what seldom happens appears late.
const MORE_METRICS: (f64, f64) = (512.0, 0.05);
/// Changes are appended until they are a mebibyte; then the state, which is small here, is written anew beside them, while
/// more are appended.
const MORE_SEALED: f64 = 2.0 * 1_048_576.0;
/// Activations a second at the usual scale, refused ones too.
const ACTIVATIONS: f64 = 162.0;

/// Without the first quarter.
pub fn after_warm_up(samples: &[Sample]) -> &[Sample] {
    samples.split_at(samples.len() / 4).1
}

/// All of them.
pub fn all(samples: &[Sample], bounds: &Bounds, scale: f64) -> Vec<Measure> {
    let mut measures = vec![
        activations(samples, scale),
        failures(samples),
        kinds(samples),
        memory("resident memory", samples, bounds, |sample| {
            sample.process.resident
        }),
        memory("heap and stacks", samples, bounds, |sample| {
            sample.process.anonymous
        }),
        most_memory(samples),
        descriptors(samples),
        threads(samples),
    ];
    for part in [
        "status",
        "status, new connection",
        "activation",
        "activation, kept",
    ] {
        measures.push(latency(part, "half", 1, samples, bounds));
        measures.push(latency(part, "99 of 100", 2, samples, bounds));
    }
    measures.extend([cpu(samples, bounds), metrics(samples), sealed(samples)]);
    measures
}

/// Whether the load was one.
fn activations(samples: &[Sample], scale: f64) -> Measure {
    let (first, last) = ends(samples, |sample| sample.activations as f64);
    let rate = (last - first) / samples.len().saturating_sub(1) as f64;
    let limit = ACTIVATIONS * scale / 2.0;
    at_least("", "activations a second", limit, rate, "/s", json!(rate))
}

/// Answers that were not expected.
pub fn failures(samples: &[Sample]) -> Measure {
    // Those of the warm-up are among them.
    let last = samples.last();
    let failed = last.map(|sample| &sample.failed);
    for failed in failed.into_iter().flatten() {
        eprintln!("{failed}");
    }
    let found = last.map_or(f64::NAN, |sample| sample.failures as f64);
    at_most("", "unexpected answers", 0.0, found, "", json!(failed))
}

/// Kinds of load that came to a standstill.
fn kinds(samples: &[Sample]) -> Measure {
    let (first, last) = thirds(samples);
    let done = |samples: &[Sample], name: &str| -> u64 {
        let parts = samples.iter().filter_map(|sample| sample.parts.get(name));
        parts.map(|[done, ..]| done).sum()
    };
    // What is seldom may miss a third by chance.
    let missing: std::collections::BTreeSet<&String> = first
        .iter()
        .flat_map(|sample| sample.parts.keys())
        .filter(|name| done(first, name) >= 5 && done(last, name) == 0)
        .collect();
    let found = if first.is_empty() {
        f64::NAN
    } else {
        missing.len() as f64
    };
    let what = "kinds of load that came to a standstill";
    at_most("", what, 0.0, found, "", json!(missing))
}

/// What an activation leaves behind.
fn memory(name: &str, samples: &[Sample], bounds: &Bounds, of: fn(&Sample) -> u64) -> Measure {
    let points: Vec<(f64, f64)> = samples
        .iter()
        .map(|sample| {
            (
                sample.activations as f64,
                of(sample) as f64 - OF_LOG * sample.log as f64,
            )
        })
        .collect();
    let (first, last) = ends(&points, |point| point.0);
    let activations = last - first;
    let limit = OF_ACTIVATION + bounds.memory_noise / activations;
    let what = format!(
        "{name} that each of {activations} activations leaves behind, beside the update log ({OF_ACTIVATION}, and noise)"
    );
    at_most("P14", &what, limit, rise(&points), "bytes", json!(points))
}

/// The most memory of all.
fn most_memory(samples: &[Sample]) -> Measure {
    let found = samples
        .iter()
        .map(|sample| sample.process.resident as f64 / 1e6)
        .fold(f64::NAN, f64::max);
    at_most(
        "R16",
        "resident memory at most",
        MOST_MEMORY,
        found,
        "MB",
        json!(found),
    )
}

/// Connections and files that stay open.
pub fn descriptors(samples: &[Sample]) -> Measure {
    let of = |sample: &Sample| sample.process.descriptors as f64;
    more("", "open descriptors", samples, of, |first| {
        first + MORE_DESCRIPTORS
    })
}

fn threads(samples: &[Sample]) -> Measure {
    let of = |sample: &Sample| sample.process.threads as f64;
    more("", "threads", samples, of, |first| first + MORE_THREADS)
}

/// Whether how many marbles came shows in the metrics.
fn metrics(samples: &[Sample]) -> Measure {
    let of = |sample: &Sample| sample.metrics as f64;
    let (more_bytes, more_share) = MORE_METRICS;
    more("", "bytes of /metrics", samples, of, |first| {
        first * (1.0 + more_share) + more_bytes
    })
}

/// The seal directory, without what the update log has to grow by.
fn sealed(samples: &[Sample]) -> Measure {
    let of = |sample: &Sample| sample.sealed as f64 - OF_LOG * sample.log as f64;
    let (first, _) = ends(samples, of);
    let most = samples.iter().map(of).fold(f64::NAN, f64::max);
    let limit = first + MORE_SEALED;
    let what = "bytes of the seal directory at most, beside the update log";
    at_most("", what, limit, most, "", json!([first, most]))
}

/// Whether what was once quick becomes slow. `which`: of the numbers of a part.
fn latency(part: &str, share: &str, which: usize, samples: &[Sample], bounds: &Bounds) -> Measure {
    let (first, last) = thirds(samples);
    // The median of the seconds, as a second in which the machine did something else says nothing.
    let millis = |samples: &[Sample]| {
        let seconds = samples
            .iter()
            .filter_map(|sample| sample.parts.get(part)?.get(which));
        median(seconds.map(|micros| *micros as f64 / 1e3).collect())
    };
    let (first, last) = (millis(first), millis(last));
    let number = if part.starts_with("status") { "P8" } else { "P7" };
    let what = format!("{share} of `{part}` in the last third, {first:.2} ms in the first");
    let limit = first * bounds.factor + bounds.wait;
    at_most(number, &what, limit, last, "ms", json!([first, last]))
}

/// Whether the same load costs more and more.
fn cpu(samples: &[Sample], bounds: &Bounds) -> Measure {
    let (first, last) = thirds(samples);
    let each = |samples: &[Sample]| {
        let (begin, end) = ends(samples, |sample| sample.process.cpu);
        let (none, all) = ends(samples, |sample| sample.activations as f64);
        (end - begin) * 1e6 / (all - none)
    };
    let (first, last) = (each(first), each(last));
    let what =
        format!("CPU of the whole load for each activation in the last third, {first:.0} µs in the first");
    at_most("", &what, first * bounds.factor, last, "µs", json!([first, last]))
}

/// The median of the last third beside that of the first.
fn more(
    number: &'static str,
    name: &str,
    samples: &[Sample],
    of: impl Fn(&Sample) -> f64,
    limit: impl Fn(f64) -> f64,
) -> Measure {
    let (first, last) = thirds(samples);
    let middle = |samples: &[Sample]| median(samples.iter().map(&of).collect());
    let (first, last) = (middle(first), middle(last));
    let what = format!("{name} in the last third, {first:.0} in the first");
    at_most(number, &what, limit(first), last, "", json!([first, last]))
}

fn ends<T>(samples: &[T], of: impl Fn(&T) -> f64) -> (f64, f64) {
    let of = |sample: Option<&T>| sample.map_or(f64::NAN, &of);
    (of(samples.first()), of(samples.last()))
}

#[cfg(test)]
mod tests;
