//! Each judge finds what is planted, finds nothing in a load that is well, and is not moved by the noise of a machine.

use super::*;
use crate::soak::sample::Process;

const SECONDS: u64 = 120;

/// Two minutes of a load that is well, on a machine that now and then does something else.
fn well() -> Vec<Sample> {
    let parts = [
        "status",
        "status, new connection",
        "activation",
        "activation, kept",
    ];
    (1..=SECONDS)
        .map(|second| {
            let busy = second % 9 == 4;
            let micros = if busy { 90_000 } else { 900 + second % 7 * 30 };
            Sample {
                process: Process {
                    resident: 40_000_000 + second % 5 * 40_960 + u64::from(busy) * 3_000_000,
                    anonymous: 20_000_000 + second % 5 * 40_960,
                    threads: 12 + second % 3 + 20 * u64::from(busy),
                    descriptors: 50 + second % 6 + 30 * u64::from(busy),
                    cpu: second as f64 * 0.1,
                },
                sealed: 40_000 + second * 1_000,
                activations: second * 160,
                metrics: 44_000 + second,
                log: 2_000 + second * 50,
                parts: parts
                    .iter()
                    .map(|name| ((*name).to_owned(), [40, micros, micros * 2]))
                    .collect(),
                ..Sample::default()
            }
        })
        .collect()
}

/// The samples, changed by their seconds.
fn planted(fault: impl Fn(&mut Sample, u64)) -> Vec<Sample> {
    let mut samples = well();
    for (sample, second) in samples.iter_mut().zip(1..) {
        fault(sample, second);
    }
    samples
}

/// What is missed, of all that is judged.
fn missed(samples: &[Sample], bounds: &Bounds) -> Vec<String> {
    let measures = all(after_warm_up(samples), bounds, 1.0);
    super::super::missed(&measures).map(str::to_owned).collect()
}

/// Each of these is in what is missed with both bounds, and nothing else is missed.
fn assert_found(samples: &[Sample], expected: &[&str]) {
    for bounds in [Bounds::FULL, Bounds::QUICK] {
        let missed = missed(samples, &bounds);
        for expected in expected {
            assert!(
                missed.iter().any(|what| what.contains(expected)),
                "{expected}: {missed:?}"
            );
        }
        assert_eq!(missed.len(), expected.len(), "{missed:?}");
    }
}

#[test]
fn a_load_that_is_well_misses_nothing() {
    assert_found(&well(), &[]);
}

#[test]
fn memory_that_grows_is_found() {
    let leak = |sample: &mut Sample, bytes: u64| {
        sample.process.resident += bytes * sample.activations;
        sample.process.anonymous += bytes * sample.activations;
    };
    // A UUID and what is around it.
    assert_found(
        &planted(|sample, _| leak(sample, 400)),
        &["resident memory that", "heap and stacks"],
    );
    // The smallest leak that two minutes can tell from noise with the narrow bound.
    let small = planted(|sample, _| leak(sample, 80));
    assert_eq!(missed(&small, &Bounds::FULL).len(), 2);
    // Only what a file stands behind.
    let files = planted(|sample, second| sample.process.resident += second * 64_000);
    assert_found(&files, &["resident memory that"]);
}

#[test]
fn over_many_activations_a_few_bytes_are_found() {
    let many = |bytes: u64| {
        planted(|sample, second| {
            // A million after the warm-up.
            sample.activations = second * 11_111;
            sample.process.anonymous = 20_000_000 + bytes * sample.activations;
        })
    };
    assert_eq!(missed(&many(3), &Bounds::FULL).len(), 1);
    assert_eq!(missed(&many(1), &Bounds::FULL).len(), 0);
}

#[test]
fn what_the_update_log_takes_is_no_growth_and_what_it_does_not_is() {
    let with_log = |bytes: u64| {
        planted(|sample, second| {
            sample.log = second * 20_000;
            sample.process.resident += bytes * sample.log;
            sample.process.anonymous += bytes * sample.log;
            sample.sealed += sample.log;
        })
    };
    assert_found(&with_log(3), &[]);
    assert_found(&with_log(10), &["resident memory that", "heap and stacks"]);
}

#[test]
fn too_much_memory_is_found() {
    let once = planted(|sample, second| {
        if second == 100 {
            sample.process.resident = 161_000_000;
        }
    });
    assert_found(&once, &["resident memory at most"]);
}

#[test]
fn descriptors_and_threads_that_stay_are_found() {
    let descriptors = planted(|sample, second| sample.process.descriptors += second / 4);
    assert_found(&descriptors, &["open descriptors"]);
    let threads = planted(|sample, second| sample.process.threads += second / 4);
    assert_found(&threads, &["threads in the last third"]);
}

#[test]
fn latency_that_grows_is_found() {
    for part in [
        "status",
        "status, new connection",
        "activation",
        "activation, kept",
    ] {
        let slower = planted(|sample, second| {
            if let Some([_, half, most]) = sample.parts.get_mut(part) {
                *half += second * second * 25;
                *most += second * second * 50;
            }
        });
        let name = format!("`{part}`");
        assert_found(
            &slower,
            &[&format!("half of {name}"), &format!("99 of 100 of {name}")],
        );
        // Only the slowest.
        let tail = planted(|sample, second| {
            if let Some([.., most]) = sample.parts.get_mut(part) {
                *most += second * second * 50;
            }
        });
        assert_found(&tail, &[&format!("99 of 100 of {name}")]);
    }
}

#[test]
fn cost_that_grows_is_found() {
    let dearer = planted(|sample, second| sample.process.cpu = (second * second) as f64 * 0.01);
    // From 60 to 210 times two hundredths.
    assert_eq!(missed(&dearer, &Bounds::FULL).len(), 1);
    let much_dearer = planted(|sample, second| sample.process.cpu = (second as f64).powi(4) * 1e-6);
    assert_found(&much_dearer, &["CPU of the whole load"]);
}

#[test]
fn metrics_and_files_that_grow_are_found() {
    // A line for each hundredth marble.
    let metrics = planted(|sample, _| sample.metrics += sample.activations / 100 * 80);
    assert_found(&metrics, &["bytes of /metrics"]);
    let sealed = planted(|sample, second| sample.sealed += second * 30_000);
    assert_found(&sealed, &["bytes of the seal directory"]);
}

#[test]
fn a_load_that_is_none_is_found() {
    let failing = planted(|sample, second| sample.failures = second / 119);
    assert_found(&failing, &["unexpected answers"]);
    let early = planted(|sample, _| sample.failures = 1);
    assert_found(&early, &["unexpected answers"]);
    let idle = planted(|sample, _| sample.activations /= 3);
    assert_found(&idle, &["activations a second"]);
    let stuck = planted(|sample, second| {
        let done = u64::from(second < 60);
        sample.parts.insert("update".to_owned(), [done, 1, 1]);
    });
    assert_found(&stuck, &["standstill"]);
}

#[test]
fn without_samples_everything_is_missed_but_nothing_breaks() {
    let missed = missed(&[], &Bounds::FULL);
    assert_eq!(missed.len(), all(&[], &Bounds::FULL, 1.0).len(), "{missed:?}");
}
