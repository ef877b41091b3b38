//! Each measure: how it is taken, and what it has to reach.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::deployment::{Deployment, Programs, number};
use super::{Extent, Measure};

type Take = fn(&Programs, Extent) -> anyhow::Result<Vec<Measure>>;

/// All measures, in the order in which they are taken.
pub const ALL: &[(&str, Take)] = &[
    ("P1 P2 P3 activation", activation),
    ("P4 flatness", flatness),
    ("P5 budget", budget),
    ("P6 commits", commits),
    ("P7 open loop", open_loop),
    ("P8 status beside activations", status_beside_activations),
    ("P9 reading", reading),
    ("P10 writing", writing),
    ("P11 manifests", manifests),
    ("P12 start", start),
    ("P13 memory", memory),
    ("P14 growth", growth),
    ("P15 P16 sizes", sizes),
];

const SIMULATION: &str = "--simulation-strict";
const P384: [&str; 3] = [SIMULATION, "--crypto-suite", "p384-aes256"];
const QUOTE: [&str; 2] = ["--quote", "sgx"];

/// A number with its target: at most that.
fn at_most(number: &'static str, what: &str, limit: f64, found: f64, unit: &str, raw: Value) -> Measure {
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
fn at_least(number: &'static str, what: &str, limit: f64, found: f64, unit: &str, raw: Value) -> Measure {
    Measure {
        target: format!("≥ {limit:.0} {unit}"),
        met: found >= limit,
        ..at_most(number, what, limit, found, unit, raw)
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
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

/// CPU of an activation on a new connection, in turns without and with a quote, in both suites.
fn activation(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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
        let fixed: [&str; 4] = [&count[0], &count[1], "--key", key];
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
        let what = format!("CPU of an activation, new connection, no quote, {name}");
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
fn flatness(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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

fn budget(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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
        let sync = counted.raw_fdatasync()?.as_secs_f64() * 1e6;
        let (without, with) = (free.activate(&fixed)?, counted.activate(&fixed)?);
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

/// A deployment whose user can write each secret.
fn with_user<'p>(programs: &'p Programs, secrets: u64) -> anyhow::Result<(Deployment<'p>, [String; 4])> {
    let deployment = Deployment::start(programs, &["--simulation"])?;
    let (certificate, key) = deployment.user()?;
    let secrets = secrets.to_string();
    deployment.set_manifest(&[
        "--kind",
        "user-defined",
        "--secrets",
        &secrets,
        "--user",
        &certificate,
    ])?;
    let identity = ["--cert".to_owned(), certificate, "--key".to_owned(), key];
    Ok((deployment, identity))
}

fn commits(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let (deployment, identity) = with_user(programs, 1)?;
    let operations = (extent.operations * 4).to_string();
    let mut fixed = vec!["set-secret", "-n", &operations, "-c", "64"];
    fixed.extend(identity.iter().map(String::as_str));
    let (rate, raw) = repeated(extent, "rate", || deployment.rest(&fixed))?;
    let what = "durable writes of secrets, 64 clients, load on the same processors";
    Ok(vec![at_least("P6", what, 5000.0, rate, "/s", json!(raw))])
}

fn open_loop(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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

fn status_beside_activations(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let deployment = Deployment::start(programs, &["--simulation"])?;
    deployment.set_manifest(&[])?;
    let count = extent.operations.to_string();
    let fixed = ["status", "-n", &count, "--rate", "200"];
    let mut added = Vec::new();
    let (mut beside, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..extent.rounds {
        let quiet = deployment.rest(&fixed)?;
        let mut load = deployment.activate_meanwhile(&["-n", "10000000", "-c", "64"])?;
        let loaded = deployment.rest(&fixed);
        load.kill()?;
        load.wait()?;
        let loaded = loaded?;
        beside.push(number(&loaded, "p99Micros")? / 1e3);
        added.push((number(&loaded, "p99Micros")? - number(&quiet, "p99Micros")?) / 1e3);
        raw.push(json!({"quiet": quiet, "beside": loaded}));
    }
    let what = "99 of 100 GET status while 64 clients activate without pause, load on the same processors";
    Ok(vec![
        at_most("P8", what, 3.0, median(beside), "ms", json!(raw)),
        at_most(
            "P8",
            "what that is more than on a quiet Coordinator",
            3.0,
            median(added),
            "ms",
            Value::Null,
        ),
    ])
}

fn reading(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let (deployment, identity) = with_user(programs, 1)?;
    let operations = (extent.operations * 4).to_string();
    let mut measures = Vec::new();
    for (ask, limit) in [("status", 10.0), ("manifest", 15.0), ("get-secret", 20.0)] {
        let mut fixed = vec![ask, "-n", &operations];
        fixed.extend(identity.iter().map(String::as_str));
        let (cpu, raw) = repeated(extent, "serverCpuMicros", || deployment.rest(&fixed))?;
        let what = format!("CPU of GET {ask} on a kept connection");
        measures.push(at_most("P9", &what, limit, cpu, "µs", json!(raw)));
    }
    Ok(measures)
}

/// A write on a new connection, less reading on a new connection, in raw fdatasyncs.
fn writing(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let (deployment, identity) = with_user(programs, extent.largest)?;
    let operations = (extent.operations / 10).max(20).to_string();
    let arguments = |ask| {
        let mut fixed = vec![ask, "--new", "-n", &operations];
        fixed.extend(identity.iter().map(String::as_str));
        fixed
    };
    let (mut ratios, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..extent.rounds {
        let sync = deployment.raw_fdatasync()?.as_secs_f64() * 1e6;
        let (reading, writing) = (
            deployment.rest(&arguments("status"))?,
            deployment.rest(&arguments("set-secret"))?,
        );
        ratios.push((number(&writing, "p50Micros")? - number(&reading, "p50Micros")?) / sync);
        raw.push(json!({"rawFdatasyncMicros": sync, "reading": reading, "writing": writing}));
    }
    let what = format!(
        "writing a secret beside {} others on a new connection, less a GET on a new connection, in raw fdatasyncs",
        extent.largest
    );
    Ok(vec![at_most(
        "P10",
        &what,
        2.0,
        median(ratios),
        "times",
        json!(raw),
    )])
}

fn manifests(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let largest = extent.largest.to_string();
    let certificates = (extent.largest / 100).to_string();
    let cases: [(&[&str], f64, String); 3] = [
        (
            &["--shared", "--secrets", &largest],
            250.0,
            format!("{largest} shared symmetric secrets"),
        ),
        (&["--marbles", &largest], 600.0, format!("{largest} marble types")),
        (
            &["--shared", "--kind", "cert-ecdsa", "--secrets", &certificates],
            90.0,
            format!("{certificates} shared P-256 certificates"),
        ),
    ];
    let mut measures = Vec::new();
    for (arguments, limit, what) in cases {
        let mut times = Vec::new();
        for _ in 0..extent.rounds {
            let deployment = Deployment::start(programs, &["--simulation"])?;
            times.push(millis(deployment.set_manifest(arguments)?));
        }
        let what = format!("setting a manifest with {what}");
        measures.push(at_most(
            "P11",
            &what,
            limit,
            median(times.clone()),
            "ms",
            json!(times),
        ));
    }
    Ok(measures)
}

fn start(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let mut deployment = Deployment::start(programs, &["--simulation"])?;
    let mut cold = Vec::new();
    for _ in 0..extent.rounds * 2 + 1 {
        cold.push(millis(deployment.restart()?));
    }
    deployment.set_manifest(&["--shared", "--secrets", &extent.largest.to_string()])?;
    let mut again = Vec::new();
    for _ in 0..extent.rounds * 2 + 1 {
        again.push(millis(deployment.restart()?));
    }
    let what = format!("restart with {} secrets", extent.largest);
    Ok(vec![
        at_most("P12", &what, 150.0, median(again.clone()), "ms", json!(again)),
        at_most(
            "P12",
            "start without a state",
            35.0,
            median(cold.clone()),
            "ms",
            json!(cold),
        ),
    ])
}

fn memory(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    const MEBI: f64 = (1 << 20) as f64;
    let deployment = Deployment::start(programs, &["--simulation"])?;
    std::thread::sleep(Duration::from_millis(500));
    let idle = deployment.resident()? as f64 / MEBI;
    let connections = per_connection(&deployment, (extent.operations / 2).clamp(100, 1000))?;
    let large = Deployment::start(programs, &["--simulation"])?;
    large.set_manifest(&["--shared", "--secrets", &extent.largest.to_string()])?;
    std::thread::sleep(Duration::from_millis(500));
    let with_secrets = large.resident()? as f64 / MEBI;
    let what = format!("resident memory with {} secrets", extent.largest);
    Ok(vec![
        at_most(
            "P13",
            "resident memory without a manifest",
            8.0,
            idle,
            "MiB",
            json!(idle),
        ),
        at_most("P13", &what, 64.0, with_secrets, "MiB", json!(with_secrets)),
        at_most(
            "P13",
            "resident memory for each idle TLS connection",
            12.0,
            connections,
            "KiB",
            json!(connections),
        ),
    ])
}

/// Opens TLS connections, asks once on each, and looks what they take while nothing happens on them; KiB.
fn per_connection(deployment: &Deployment<'_>, count: u64) -> anyhow::Result<f64> {
    let before = deployment.resident()?;
    let client = deployment.client.clone();
    let connections = super::super::crash::block_on(async move {
        let mut open = Vec::new();
        for _ in 0..count {
            let address = client.parse().context("the address of the client API")?;
            let coordinator = marblerun_client::Connector::new(address)
                .dangerous_unverified()
                .await?;
            coordinator.status().await?;
            open.push(coordinator);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // They stay open until the memory was looked at.
        let after = deployment.resident()?;
        drop(open);
        anyhow::Ok(after)
    })?;
    Ok(connections.saturating_sub(before) as f64 / 1024.0 / count as f64)
}

/// The slope of memory over many activations with quotes: what is left of the growth after the first tenth.
fn growth(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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

fn sizes(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let deployment = Deployment::start(programs, &["--simulation"])?;
    let secrets = extent.largest.to_string();
    deployment.set_manifest(&["--shared", "--secrets", &secrets])?;
    let sealed = std::fs::metadata(deployment.file("state").join("sealed_data"))?.len();
    let manifest = std::fs::metadata(deployment.file("manifest.json"))?.len();
    let each = (sealed as f64 - manifest as f64) / extent.largest as f64;
    let program = programs.size()? as f64 / 1e6;
    let what = "stored bytes for each 128-bit secret, beyond the manifest's own";
    Ok(vec![
        at_most(
            "P15",
            what,
            80.0,
            each,
            "bytes",
            json!({"sealed": sealed, "manifest": manifest}),
        ),
        at_most(
            "P16",
            "the Coordinator's program",
            12.0,
            program,
            "MB",
            json!(programs.size()?),
        ),
    ])
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
