//! Manifests, starts, memory and sizes.

use std::time::Duration;

use serde_json::json;

use super::super::deployment::{Deployment, Programs};
use super::super::{Extent, Measure};
use super::{at_most, median, millis};

pub fn manifests(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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

pub fn start(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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

pub fn memory(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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

/// What TLS connections take on which nothing is asked; KiB each. What the first ones have set aside for all is not counted.
fn per_connection(deployment: &Deployment<'_>, count: u64) -> anyhow::Result<f64> {
    let few = deployment.while_held(count / 10, Deployment::resident)?;
    let many = deployment.while_held(count, Deployment::resident)?;
    Ok(many.saturating_sub(few) as f64 / 1024.0 / (count - count / 10) as f64)
}

pub fn sizes(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Measure>> {
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
