//! The client API: reading, writing, and reading beside activations.

use serde_json::{Value, json};

use super::super::deployment::{Deployment, Programs, number};
use super::super::{Extent, Measure};
use super::{AT_A_TIME, at_least, at_most, median, repeated};

/// A deployment with these secrets, whose user can write each, and these marble types.
fn with_user<'p>(
    programs: &'p Programs,
    secrets: u64,
    marbles: u64,
) -> anyhow::Result<(Deployment<'p>, [String; 4])> {
    let deployment = Deployment::start(programs, &["--simulation"])?;
    let (certificate, key) = deployment.user()?;
    let (secrets, marbles) = (secrets.to_string(), marbles.to_string());
    deployment.set_manifest(&[
        "--marbles",
        &marbles,
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

pub fn commits(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let (deployment, identity) = with_user(programs, 1, 1)?;
    let operations = (extent.operations * 4).to_string();
    let mut fixed = vec!["set-secret", "-n", &operations, "-c", "64"];
    fixed.extend(identity.iter().map(String::as_str));
    let (rate, raw) = repeated(extent, "rate", || deployment.rest(&fixed))?;
    let what = "durable writes of secrets, 64 clients, load on the same processors";
    Ok(vec![at_least("P6", what, 5000.0, rate, "/s", json!(raw))])
}

pub fn status_beside_activations(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let deployment = Deployment::start(programs, &["--simulation"])?;
    deployment.set_manifest(&[])?;
    let count = extent.operations.to_string();
    let kept = ["status", "-n", &count, "--rate", "200"];
    let new = [&kept[..], &["--new"]].concat();
    let (mut beside, mut added, mut added_new) = (Vec::new(), Vec::new(), Vec::new());
    let mut raw = Vec::new();
    let both = || anyhow::Ok((deployment.rest(&kept)?, deployment.rest(&new)?));
    let p99 = |report: &Value| anyhow::Ok(number(report, "p99Micros")? / 1e3);
    for _ in 0..extent.rounds {
        let (quiet, quiet_new) = both()?;
        let mut load = deployment.activate_meanwhile(&["-n", "10000000", "-c", "64"])?;
        let loaded = both();
        load.kill()?;
        load.wait()?;
        let (loaded, loaded_new) = loaded?;
        beside.push(p99(&loaded)?);
        added.push(p99(&loaded)? - p99(&quiet)?);
        added_new.push(p99(&loaded_new)? - p99(&quiet_new)?);
        raw.push(json!({"quiet": quiet, "beside": loaded, "quietNew": quiet_new, "besideNew": loaded_new}));
    }
    let row = |what, reached, raw| at_most("P8", what, 3.0, median(reached), "ms", raw);
    Ok(vec![
        row(
            "99 of 100 GET status, 200 a second on kept connections, while 64 clients activate without pause on the same \
             two processors",
            beside,
            json!(raw),
        ),
        row(
            "what that is more than on a quiet Coordinator",
            added,
            Value::Null,
        ),
        row(
            "the same more with a new connection each time, whose client waits for these processors, too",
            added_new,
            Value::Null,
        ),
    ])
}

pub fn reading(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let (deployment, identity) = with_user(programs, 1, 1)?;
    let operations = (extent.operations * 4).to_string();
    let mut measures = Vec::new();
    for (ask, limit) in [("status", 10.0), ("manifest", 15.0), ("get-secret", 20.0)] {
        let mut fixed = vec![ask, "-n", &operations, "-c", AT_A_TIME];
        fixed.extend(identity.iter().map(String::as_str));
        let (cpu, raw) = repeated(extent, "serverCpuMicros", || deployment.rest(&fixed))?;
        let what = format!("CPU of GET {ask} on kept connections, {AT_A_TIME} at a time");
        measures.push(at_most("P9", &what, limit, cpu, "µs", json!(raw)));
    }
    Ok(measures)
}

/// A write on a new connection, less reading on a new connection, in raw fdatasyncs.
pub fn writing(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
    let operations = (extent.operations / 10).max(20).to_string();
    let mut measures = Vec::new();
    for (secrets, marbles, beside) in [
        (extent.largest, 1, "other secrets"),
        (1, extent.largest, "marble types"),
    ] {
        let (deployment, identity) = with_user(programs, secrets, marbles)?;
        let arguments = |ask| {
            let mut fixed = vec![ask, "--new", "-n", &operations];
            fixed.extend(identity.iter().map(String::as_str));
            fixed
        };
        let (mut ratios, mut raw) = (Vec::new(), Vec::new());
        for _ in 0..extent.rounds {
            let (sync, (reading, writing)) = deployment.with_raw_fdatasync(|| {
                let reading = deployment.rest(&arguments("status"))?;
                Ok((reading, deployment.rest(&arguments("set-secret"))?))
            })?;
            ratios.push((number(&writing, "p50Micros")? - number(&reading, "p50Micros")?) / sync);
            raw.push(json!({"rawFdatasyncMicros": sync, "reading": reading, "writing": writing}));
        }
        let what = format!(
            "writing a secret beside {} {beside} on a new connection, less a GET on a new connection, in raw fdatasyncs",
            extent.largest
        );
        measures.push(at_most("P10", &what, 2.0, median(ratios), "times", json!(raw)));
    }
    Ok(measures)
}
