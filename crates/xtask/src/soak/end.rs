//! When the load has ended: whether everything is as it was, whether the Coordinator ends as it is told, and what its log
//! says.

use std::io::BufRead as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::sample::{Process, Watch};
use crate::bench::Measure;
use crate::bench::deployment::Deployment;
use crate::bench::measures::at_most;

/// Threads that wait for work end after ten seconds, and connections of peers who are gone do at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// The file of the state is open now.
const MORE_DESCRIPTORS: u64 = 2;
/// The runtime's workers take turns in waiting for the operating system.
const MORE_THREADS: u64 = 2;
/// Requests under way get 30 seconds; there are none.
const END: Duration = Duration::from_secs(35);

/// Waits for the Coordinator to become idle, ends it, reads its log.
pub fn look(deployment: &mut Deployment<'_>, watch: &Watch, before: Process) -> anyhow::Result<Vec<Measure>> {
    let began = Instant::now();
    let idle = loop {
        let now = watch.look()?;
        let is_idle = now.descriptors <= before.descriptors + MORE_DESCRIPTORS
            && now.threads <= before.threads + MORE_THREADS;
        if is_idle || began.elapsed() > PATIENCE {
            break now;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let code = deployment.stop(END)?.code();
    let log = std::io::BufReader::new(std::fs::File::open(deployment.file("log"))?);
    let mut measures = back(before, idle);
    measures.push(Measure {
        number: "",
        what: "exit status when it is told to end".to_owned(),
        target: "0".to_owned(),
        reached: code.map_or("none".to_owned(), |code| code.to_string()),
        met: code == Some(0),
        raw: json!(code),
    });
    measures.push(errors(log.lines())?);
    Ok(measures)
}

/// Descriptors and threads of the idle process, before and after.
fn back(before: Process, after: Process) -> Vec<Measure> {
    let raw = json!([before, after]);
    [
        (
            "descriptors",
            before.descriptors + MORE_DESCRIPTORS,
            after.descriptors,
        ),
        ("threads", before.threads + MORE_THREADS, after.threads),
    ]
    .map(|(name, limit, found)| {
        let what = format!("{name} when all have gone");
        at_most("", &what, limit as f64, found as f64, "", raw.clone())
    })
    .into()
}

/// Errors and panics in a log.
fn errors(lines: impl Iterator<Item = std::io::Result<String>>) -> anyhow::Result<Measure> {
    let mut found = Vec::new();
    let mut count = 0_u64;
    for line in lines {
        let line = line?;
        if line.contains("\"level\":\"ERROR\"") || line.contains("panicked") {
            count += 1;
            if found.len() < 5 {
                eprintln!("{line}");
                found.push(line);
            }
        }
    }
    let what = "errors and panics in its log";
    Ok(at_most("", what, 0.0, count as f64, "", json!(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_found() {
        let errors = |lines: &[&str]| errors(lines.iter().map(|line| Ok((*line).to_owned()))).unwrap();
        let refused = r#"{"time":"t","level":"INFO","message":"refused: ERROR"}"#;
        assert!(errors(&[refused, r#"{"level":"WARN"}"#]).met);
        assert!(!errors(&[refused, r#"{"time":"t","level":"ERROR","message":"disk"}"#]).met);
        assert!(!errors(&["thread 'a' panicked at b"]).met);
    }

    #[test]
    fn what_stays_open_is_found() {
        let process = |descriptors, threads| Process {
            descriptors,
            threads,
            ..Process::default()
        };
        let met = |after| -> Vec<bool> {
            let back = back(process(15, 6), after);
            back.iter().map(|measure| measure.met).collect()
        };
        assert_eq!(met(process(16, 7)), [true, true]);
        assert_eq!(met(process(20, 7)), [false, true]);
        assert_eq!(met(process(16, 12)), [true, false]);
    }
}
