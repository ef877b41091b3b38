//! How the cost of an activation changes with what the deployment holds.

use super::Extent;
use super::deployment::{Deployment, Programs, number};

/// One curve: cost against size.
pub struct Curve {
    /// Name of its file.
    pub name: &'static str,
    /// What the sizes count.
    pub sizes: &'static str,
    /// Size, and CPU time of an activation in microseconds.
    pub points: Vec<(f64, f64)>,
}

/// CPU of an activation against secrets, marble types, and entries of the update log.
pub fn measure(programs: &Programs, extent: Extent) -> anyhow::Result<Vec<Curve>> {
    let sizes: Vec<u64> = std::iter::successors(Some(1), |size| Some(size * 10))
        .take_while(|size| *size <= extent.largest)
        .collect();
    let mut curves = Vec::new();
    for (name, what, argument) in [
        ("secrets", "secrets", "--secrets"),
        ("marbles", "marble types", "--marbles"),
    ] {
        let mut points = Vec::new();
        for size in &sizes {
            let deployment = Deployment::start(programs, &["--simulation"])?;
            deployment.set_manifest(&["--shared", argument, &size.to_string()])?;
            points.push((*size as f64, cost(&deployment, extent)?));
        }
        curves.push(Curve {
            name,
            sizes: what,
            points,
        });
    }
    curves.push(Curve {
        name: "log",
        sizes: "entries in the update log",
        points: log(programs, extent, &sizes)?,
    });
    Ok(curves)
}

fn log(programs: &Programs, extent: Extent, sizes: &[u64]) -> anyhow::Result<Vec<(f64, f64)>> {
    let deployment = Deployment::start(programs, &["--simulation"])?;
    let (certificate, key) = deployment.user()?;
    deployment.set_manifest(&["--kind", "user-defined", "--user", &certificate])?;
    let (mut written, mut points) = (1, Vec::new());
    for size in sizes {
        let more = (size - written).to_string();
        if *size > written {
            let fixed = ["set-secret", "--warm-up", "0", "-c", "64", "-n", &more];
            deployment.rest(&[&fixed[..], &["--cert", &certificate, "--key", &key]].concat())?;
            written = *size;
        }
        points.push((*size as f64, cost(&deployment, extent)?));
    }
    Ok(points)
}

fn cost(deployment: &Deployment<'_>, extent: Extent) -> anyhow::Result<f64> {
    let report = deployment.activate(&["-n", &extent.operations.to_string()])?;
    number(&report, "serverCpuMicros")
}
