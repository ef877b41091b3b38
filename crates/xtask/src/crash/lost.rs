//! Files that are foreign, empty, unreadable or gone are never taken for a new deployment.

use std::path::Path;

use anyhow::{bail, ensure};

use super::commits::Kind;
use super::coordinator::{Coordinator, Start, Started, state};
use super::deployment::{Cast, connect};
use super::templates::Templates;
use super::{Report, Setting, block_on};

/// A directory as somebody may find it.
struct Case {
    name: &'static str,
    make: fn(&Found<'_>) -> anyhow::Result<()>,
    /// Part of what the refusal says.
    says: &'static str,
    /// What `--fresh` leads to.
    fresh: Fresh,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fresh {
    /// A new deployment, the old files kept.
    Starts,
    /// Refused all the same.
    Refused,
}

/// The directory to make, and one with a whole state.
struct Found<'a> {
    directory: &'a Path,
    whole: &'a Path,
}

impl Found<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(std::fs::write(self.directory.join(name), bytes)?)
    }

    fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        std::fs::copy(self.whole.join(from), self.directory.join(to))?;
        Ok(())
    }
}

const CASES: &[Case] = &[
    Case {
        name: "an empty sealed_data",
        make: |found| found.write("sealed_data", b""),
        says: "sealed_data",
        fresh: Fresh::Starts,
    },
    Case {
        name: "an empty sealed_data beside a sealed_key",
        make: |found| {
            found.copy("sealed_key", "sealed_key")?;
            found.write("sealed_data", b"")
        },
        says: "sealed_data",
        fresh: Fresh::Starts,
    },
    Case {
        name: "a foreign sealed_data",
        make: |found| found.write("sealed_data", &[0x5a; 5000]),
        says: "sealed_data",
        fresh: Fresh::Starts,
    },
    Case {
        name: "a sealed_data that is a text",
        make: |found| found.write("sealed_data", b"a note of the administrator\n"),
        says: "sealed_data",
        fresh: Fresh::Starts,
    },
    Case {
        name: "a sealed_data of which only the magic is left",
        make: |found| found.write("sealed_data", b"mrblseal"),
        says: "sealed_data",
        fresh: Fresh::Refused,
    },
    Case {
        name: "a sealed_data that cannot be read",
        make: |found| Ok(std::fs::create_dir(found.directory.join("sealed_data"))?),
        says: "sealed_data",
        fresh: Fresh::Refused,
    },
    Case {
        name: "sealed_key without sealed_data",
        make: |found| found.copy("sealed_key", "sealed_key"),
        says: "a state may have been lost",
        fresh: Fresh::Starts,
    },
    Case {
        name: "sealed_data.new alone",
        make: |found| found.copy("sealed_data", "sealed_data.new"),
        says: "a state may have been lost",
        fresh: Fresh::Starts,
    },
    Case {
        name: "sealed_key.new alone",
        make: |found| found.copy("sealed_key", "sealed_key.new"),
        says: "a state may have been lost",
        fresh: Fresh::Starts,
    },
    Case {
        name: "checkpoint.new alone",
        make: |found| found.copy("sealed_data", "checkpoint.new"),
        says: "a state may have been lost",
        fresh: Fresh::Starts,
    },
    Case {
        name: "a superseded state alone",
        make: |found| found.copy("sealed_data", "superseded-20260101T000000.000Z-sealed_data"),
        says: "a state may have been lost",
        fresh: Fresh::Starts,
    },
    Case {
        name: "a torn tail alone",
        make: |found| found.write("torn-20260101T000000.000Z", b"x"),
        says: "a state may have been lost",
        fresh: Fresh::Starts,
    },
    Case {
        name: "a file of somebody else",
        make: |found| found.write("notes.txt", b"x"),
        says: "a state may have been lost",
        fresh: Fresh::Starts,
    },
];

/// Runs the campaign.
pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    let mut report = Report::new("foreign, empty, unreadable and lost files");
    let folder = setting.folder("lost")?;
    let cast = Cast::new(&setting.root)?;
    let templates = block_on(Templates::make(setting, &cast, &folder.join("templates")))?;
    let whole = state(templates.of(Kind::Secrets));
    for case in CASES {
        for fresh in [false, true] {
            let place = folder.join("place");
            if place.exists() {
                std::fs::remove_dir_all(&place)?;
            }
            let directory = state(&place);
            std::fs::create_dir_all(&directory)?;
            let found = Found {
                directory: &directory,
                whole: &whole,
            };
            (case.make)(&found)?;
            let outcome = if fresh && case.fresh == Fresh::Starts {
                starts_fresh(setting, &cast, &place)
            } else {
                refuses(setting, &place, fresh, case.says)
            };
            if let Err(error) = outcome {
                let flag = if fresh { " with --fresh" } else { "" };
                report.violations.push(format!("{}{flag}: {error:#}", case.name));
            }
        }
    }
    // The checker itself: an empty directory is a new deployment, and must not pass for a refusal.
    let place = folder.join("planted");
    std::fs::create_dir_all(state(&place))?;
    match refuses(setting, &place, false, "") {
        Ok(()) => bail!("the checker does not find a fresh start"),
        Err(error) => ensure!(error.to_string().contains("started"), "{error}"),
    }
    report.say("planted: a fresh start was found by the checker");
    report.say(format!(
        "{} directories, each without and with --fresh: {} taken for new, changed or refused without saying why",
        CASES.len(),
        report.violations.len()
    ));
    Ok(report)
}

/// The start is refused, says why, and leaves everything as it is.
fn refuses(setting: &Setting, place: &Path, fresh: bool, says: &str) -> anyhow::Result<()> {
    let before = contents(&state(place))?;
    let flags = if fresh { vec!["--fresh"] } else { Vec::new() };
    let start = Start {
        flags,
        ..Start::default()
    };
    match Coordinator::start(setting, place, &start)? {
        Started::Ready(coordinator) => {
            let phase = block_on(async { Ok(connect(&coordinator, None).await?.status().await?.code) })?;
            bail!("it started, in phase {phase}")
        }
        Started::Ended(status, log) => {
            ensure!(status.code() == Some(1), "it ended with {status}");
            let last = log.lines().last().unwrap_or_default();
            ensure!(last.contains(says), "it says: {last}");
            ensure!(!log.contains("panicked"), "it panicked: {log}");
        }
    }
    ensure!(contents(&state(place))? == before, "files were changed");
    Ok(())
}

/// The start is fresh, and what was there is still there when a manifest is set.
fn starts_fresh(setting: &Setting, cast: &Cast, place: &Path) -> anyhow::Result<()> {
    let before = contents(&state(place))?;
    let start = Start {
        flags: vec!["--fresh"],
        ..Start::default()
    };
    let coordinator = Coordinator::running(setting, place, &start)?;
    block_on(async {
        let anybody = connect(&coordinator, None).await?;
        ensure!(anybody.status().await?.code == 2, "it is not new");
        ensure!(
            contents(&state(place))? == before,
            "files were changed before a manifest was set"
        );
        anybody
            .set_manifest(cast.manifest().to_string().as_bytes())
            .await?;
        Ok(())
    })?;
    coordinator.kill()?;
    if let Some((_, old)) = before
        .iter()
        .find(|(name, bytes)| name == "sealed_data" && !bytes.is_empty())
    {
        let after = contents(&state(place))?;
        let kept = after
            .iter()
            .any(|(name, bytes)| name.starts_with("superseded-") && bytes == old);
        ensure!(kept, "the old sealed_data was not kept aside");
    }
    let coordinator = Coordinator::running(setting, place, &Start::default())?;
    let phase = block_on(async { Ok(connect(&coordinator, None).await?.status().await?.code) })?;
    ensure!(phase == 3, "after a restart it is in phase {phase}");
    Ok(())
}

/// Names and contents of what was there before a start, without what every start makes.
fn contents(directory: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if matches!(name.as_str(), "lock" | "simulation_seal_key") {
            continue;
        }
        let bytes = if entry.file_type()?.is_dir() {
            Vec::new()
        } else {
            std::fs::read(entry.path())?
        };
        found.push((name, bytes));
    }
    found.sort();
    Ok(found)
}
