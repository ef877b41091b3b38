//! Activations: their cost, alone, beside many secrets, with a budget, at a rate, and what they leave behind.

use serde_json::{Value, json};

use super::super::deployment::{Deployment, Programs, number};
use super::super::{Extent, Measure};
use super::{AT_A_TIME, P384, QUOTE, SIMULATION, at_least, at_most, count, median, repeated};

/// CPU of an activation on a new connection, in turns without and with a quote, in both suites.
pub fn activation(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let mut measures = Vec::new();
    let suites: [(&[&str], &str, f64, &str); 2] = [
        (&[SIMULATION], "p256", 330.0, "P-256 on both sides"),
        (&P384, "p384", 620.0, "P-384 on both sides"),
    ];
    for (flags, key, limit, name) in suites {
        let strict = Deployment::start(programs, flags)?;
        let lenient_flags: Vec<&str> = flags
            .iter()
            .map(|flag| {
                if *flag == SIMULATION {
                    "--simulation"
                } else {
                    *flag
                }
            })
            .collect();
        let lenient = Deployment::start(programs, &lenient_flags)?;
        strict.set_manifest(&[])?;
        lenient.set_manifest(&[])?;
        let count = count(extent);
        let fixed: [&str; 6] = [&count[0], &count[1], "--key", key, "-c", AT_A_TIME];
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..extent.rounds {
            without.push(lenient.activate(&fixed)?);
            with.push(strict.activate(&[&fixed[..], &QUOTE].concat())?);
        }
        let cpu = |reports: &[Value]| -> anyhow::Result<Vec<f64>> {
            reports
                .iter()
                .map(|report| number(report, "serverCpuMicros"))
                .collect()
        };
        let (bare, quoted) = (cpu(&without)?, cpu(&with)?);
        let part = median(
            quoted
                .iter()
                .zip(&bare)
                .map(|(with, without)| with - without)
                .collect(),
        );
        let what = format!("CPU of an activation, new connections, {AT_A_TIME} at a time, no quote, {name}");
        measures.push(at_most("P1", &what, limit, median(bare), "µs", json!(without)));
        let what = format!("of it with an SGX quote, collateral cached, {name}: the quote's part");
        measures.push(at_most("P2", &what, 90.0, part, "µs", json!(with)));
        if key == "p384" {
            let many = [
                "-n",
                &(extent.operations * 2).to_string(),
                "-c",
                "32",
                "--key",
                key,
            ]
            .map(str::to_owned);
            let many: Vec<&str> = many.iter().map(String::as_str).chain(QUOTE).collect();
            let (rate, raw) = repeated(extent, "rate", || strict.activate(&many))?;
            let (cpu, _) = (median(cpu(&raw)?), ());
            let what = format!(
                "activations with quotes, P-384, 32 at a time, on the same two processors as the load \
                 ({rate:.0} a second seen; without the load, by CPU time)"
            );
            measures.push(at_least("P3", &what, 2315.0, 2e6 / cpu, "/s", json!(raw)));
        }
    }
    Ok(measures)
}

/// CPU of an activation beside many secrets, compared with one, in turns.
pub fn flatness(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let (few, many) = (
        Deployment::start(programs, &["--simulation"])?,
        Deployment::start(programs, &["--simulation"])?,
    );
    few.set_manifest(&[])?;
    many.set_manifest(&["--shared", "--secrets", &extent.largest.to_string()])?;
    let count = count(extent);
    let fixed: Vec<&str> = count.iter().map(String::as_str).collect();
    let (mut ratios, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..extent.rounds {
        let (one, all) = (few.activate(&fixed)?, many.activate(&fixed)?);
        ratios.push(number(&all, "serverCpuMicros")? / number(&one, "serverCpuMicros")?);
        raw.push(json!([one, all]));
    }
    let what = format!(
        "CPU of an activation beside {} secrets, compared with one",
        extent.largest
    );
    Ok(vec![at_most(
        "P4",
        &what,
        1.10,
        median(ratios),
        "times",
        json!(raw),
    )])
}

pub fn budget(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let types = extent.largest.to_string();
    let (free, counted) = (
        Deployment::start(programs, &["--simulation"])?,
        Deployment::start(programs, &["--simulation"])?,
    );
    free.set_manifest(&["--marbles", &types])?;
    counted.set_manifest(&["--marbles", &types, "--max-activations", "1000000"])?;
    let count = count(extent);
    let fixed: [&str; 4] = [&count[0], &count[1], "--type-count", &types];
    let (mut extra, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..extent.rounds {
        let (sync, (without, with)) =
            counted.with_raw_fdatasync(|| Ok((free.activate(&fixed)?, counted.activate(&fixed)?)))?;
        extra.push((number(&with, "p50Micros")? - number(&without, "p50Micros")?) / sync);
        raw.push(json!({"rawFdatasyncMicros": sync, "without": without, "with": with}));
    }
    let what = format!("what a budget adds to an activation, {types} marble types, in raw fdatasyncs");
    Ok(vec![at_most(
        "P5",
        &what,
        1.3,
        median(extra),
        "times",
        json!(raw),
    )])
}

pub fn open_loop(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let deployment = Deployment::start(programs, &["--simulation"])?;
    deployment.set_manifest(&[])?;
    let count = count(extent);
    let fixed: [&str; 4] = [&count[0], &count[1], "--rate", "200"];
    let (p99, raw) = repeated(extent, "p99Micros", || deployment.activate(&fixed))?;
    Ok(vec![at_most(
        "P7",
        "99 of 100 activations, 200 a second begun",
        3.0,
        p99 / 1e3,
        "ms",
        json!(raw),
    )])
}

/// The slope of memory over many activations with quotes: what is left of the growth after the first tenth.
pub fn growth(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let deployment = Deployment::start(programs, &[SIMULATION])?;
    deployment.set_manifest(&[])?;
    let tenth = (extent.activations / 10).max(1).to_string();
    let arguments = [&["-n", &tenth, "-c", "16"][..], &QUOTE].concat();
    let mut seen = Vec::new();
    for _ in 0..10 {
        deployment.activate(&arguments)?;
        seen.push(deployment.resident()? as f64);
    }
    let slope = slope(&seen) / (extent.activations as f64 / 10.0);
    let what = format!(
        "bytes of memory that each of {} activations with quotes leaves behind",
        extent.activations
    );
    Ok(vec![at_most(
        "P14",
        &what,
        1.0,
        slope.max(0.0),
        "bytes",
        json!(seen),
    )])
}

/// The rise of the line that fits best, from one number to the next, without the first three: what is set aside once is
/// no growth.
fn slope(numbers: &[f64]) -> f64 {
    let settled = numbers.get(3..).unwrap_or_default();
    let count = settled.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, settled.iter().sum::<f64>() / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (index, number) in settled.iter().enumerate() {
        let distance = index as f64 - middle;
        above += distance * (number - mean);
        below += distance * distance;
    }
    above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_found_and_what_is_set_aside_once_is_none() {
        let flat = [10.0, 50.0, 60.0, 60.0, 60.1, 59.9, 60.0, 60.0];
        assert!(slope(&flat).abs() < 0.1, "{}", slope(&flat));
        let rising: Vec<f64> = (0..10).map(|index| 60.0 + 3.0 * f64::from(index)).collect();
        assert!((slope(&rising) - 3.0).abs() < 1e-9);
    }
}
