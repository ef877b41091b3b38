//! A clock that jumps while the Coordinator works: ± 1 s, 1 h, 10 years, forth and back. No verdict may depend on it.
//!
//! The clock is that of `libfaketime`, which reads how far it is off from a file; monotonic time goes on as it does when
//! an administrator sets a clock. That a jump has come through is seen in the update log.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use marblerun_client::Attested;
use serde_json::Value;

use super::commits::Kind;
use super::coordinator::{Coordinator, Start};
use super::deployment::{Cast, activate, connect, raise_counter, raise_package, write};
use super::templates::Templates;
use super::{Report, Setting, block_on};

const HOUR: i64 = 3600;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;
/// How far the clock is off, one after the other, in seconds.
const OFFSETS: [i64; 14] = [
    0,
    1,
    -1,
    0,
    HOUR,
    -HOUR,
    HOUR,
    TEN_YEARS,
    0,
    -TEN_YEARS,
    TEN_YEARS,
    TEN_YEARS - 1,
    -TEN_YEARS,
    0,
];
const QUICK: usize = 5;

/// What was asked, and whether it has to be granted.
struct Verdict {
    what: &'static str,
    granted: bool,
    outcome: anyhow::Result<()>,
}

impl Verdict {
    fn is_right(&self) -> bool {
        self.outcome.is_ok() == self.granted
    }
}

/// Runs the campaign.
pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    let mut report = Report::new("a clock that jumps");
    let library = library()?;
    let folder = setting.folder("clock")?;
    let cast = Cast::new(&setting.root)?;
    let templates = block_on(Templates::make(setting, &cast, &folder.join("templates")))?;
    let place = folder.join("place");
    templates.copy(Kind::Secrets, &place)?;
    let clock = folder.join("offset");
    set_clock(&clock, 0)?;
    let start = Start {
        environment: vec![
            ("LD_PRELOAD", library.into()),
            ("FAKETIME_TIMESTAMP_FILE", clock.clone().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ],
        ..Start::default()
    };
    let mut coordinator = Coordinator::running(setting, &place, &start)?;
    let offsets = if setting.quick {
        OFFSETS.into_iter().rev().take(QUICK).collect::<Vec<_>>()
    } else {
        OFFSETS.to_vec()
    };
    let (mut asked, mut jumps) = (0, 0);
    let mut round = Round::default();
    for (number, offset) in offsets.iter().enumerate() {
        set_clock(&clock, *offset)?;
        jumps += 1;
        round.number = number as u64 + 1;
        // In every other round it is started anew with the clock as it is then.
        if number % 2 == 1 {
            coordinator.kill()?;
            coordinator = Coordinator::running(setting, &place, &start)
                .with_context(|| format!("a start with the clock off by {offset} s"))?;
        }
        let verdicts = block_on(round.ask(setting, &cast, &coordinator))?;
        asked += verdicts.len();
        for verdict in verdicts.iter().filter(|verdict| !verdict.is_right()) {
            let found = match &verdict.outcome {
                Ok(()) => "granted".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            report
                .violations
                .push(format!("off by {offset} s: {}: {found}", verdict.what));
        }
        let seen = block_on(newest_entry(&coordinator))?;
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
        ensure!(
            (seen - now - offset).abs() < 30,
            "the clock did not jump: the update log is off by {} s, expected {offset}",
            seen - now
        );
    }
    // The budget is what it was but for the one activation, whatever the clock said.
    let mut left = 0;
    while left < 10 && activate(setting, &coordinator, "few")?.is_some() {
        left += 1;
    }
    if left != 1 {
        report
            .violations
            .push(format!("{left} activations were left, expected 1"));
    }
    let wrong = Verdict {
        what: "planted",
        granted: false,
        outcome: Ok(()),
    };
    ensure!(!wrong.is_right(), "the checker does not find a wrong verdict");
    report.say("planted: a wrong verdict was found by the checker; each jump was seen in the update log");
    report.say(format!(
        "{jumps} jumps, {asked} verdicts: {} wrong",
        report.violations.len()
    ));
    Ok(report)
}

/// What has been asked so far.
#[derive(Default)]
struct Round {
    number: u64,
}

impl Round {
    async fn ask(
        &self,
        setting: &Setting,
        cast: &Cast,
        coordinator: &Coordinator,
    ) -> anyhow::Result<Vec<Verdict>> {
        let number = self.number;
        let admin = connect(coordinator, Some(&cast.admin)).await?;
        let alice = connect(coordinator, Some(&cast.alice)).await?;
        let nobody = connect(coordinator, None).await?;
        let value = number.to_string();
        let manifest = cast.other_manifest().to_string();
        let mut verdicts = Vec::new();
        let mut say = |what, granted, outcome| {
            verdicts.push(Verdict {
                what,
                granted,
                outcome,
            });
        };
        say(
            "write as a user who may",
            true,
            write(&admin, &[("a", value.as_bytes())]).await,
        );
        say("read it", true, reads(&admin, &value).await);
        say(
            "write as a user who may not",
            false,
            write(&alice, &[("a", b"x")]).await,
        );
        say("write as nobody", false, write(&nobody, &[("a", b"x")]).await);
        say("raise a package", true, raise_package(&admin, 10 + number).await);
        say("lower a package", false, raise_package(&admin, 3).await);
        say(
            "propose as a user who may not",
            false,
            proposed(&admin, &manifest).await,
        );
        say("propose", true, proposed(&alice, &manifest).await);
        say(
            "propose while one is pending",
            false,
            proposed(&alice, &manifest).await,
        );
        let cancelled = alice.cancel_update().await.map(drop).map_err(Into::into);
        say("cancel", true, cancelled);
        let raised = raise_counter(setting, coordinator, 100 + number).await;
        let before = if number == 1 { 5 } else { 99 + number };
        say("raise a counter", true, is(raised, before));
        let lowered = raise_counter(setting, coordinator, 1).await;
        say(
            "lower a counter, which does nothing",
            true,
            is(lowered, 100 + number),
        );
        if number == 1 {
            let activated =
                activate(setting, coordinator, "few").and_then(|marble| marble.map(drop).context("refused"));
            say("activate within the budget", true, activated);
        }
        Ok(verdicts)
    }
}

fn is(found: anyhow::Result<u64>, expected: u64) -> anyhow::Result<()> {
    let found = found?;
    ensure!(found == expected, "it was {found}, expected {expected}");
    Ok(())
}

async fn reads(admin: &Attested, expected: &str) -> anyhow::Result<()> {
    let secrets = admin.read_secrets(&["a"]).await?;
    let value = secrets
        .0
        .get("a")
        .and_then(|secret| secret.private.as_ref())
        .context("no value")?;
    ensure!(value.expose() == expected.as_bytes(), "another value");
    Ok(())
}

async fn proposed(user: &Attested, manifest: &str) -> anyhow::Result<()> {
    user.propose_update(manifest.as_bytes()).await?;
    Ok(())
}

/// When the newest entry of the update log was made, by the Coordinator's clock, in seconds since 1970.
async fn newest_entry(coordinator: &Coordinator) -> anyhow::Result<i64> {
    let log = connect(coordinator, None).await?.update_log().await?;
    let entry: Value = serde_json::from_str(log.last().context("an empty update log")?)?;
    let time = entry
        .get("time")
        .and_then(Value::as_str)
        .context("an entry without a time")?;
    seconds(time).with_context(|| format!("not a time: {time}"))
}

/// Seconds since 1970 of a time in UTC, by the civil calendar.
fn seconds(time: &str) -> Option<i64> {
    let part = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let (hour, minute, second) = (part(11..13)?, part(14..16)?, part(17..19)?);
    // Days from civil, with years that begin in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted.div_euclid(4) - shifted.div_euclid(100)
        + shifted.div_euclid(400)
        + day_of_year
        - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// In one piece, as the Coordinator may be reading.
fn set_clock(path: &Path, offset: i64) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, format!("{offset:+}\n"))?;
    Ok(std::fs::rename(new, path)?)
}

fn library() -> anyhow::Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib")?.filter_map(Result::ok);
    for folder in folders {
        let library = folder.path().join("faketime/libfaketimeMT.so.1");
        if library.exists() {
            return Ok(library);
        }
    }
    bail!("there is no libfaketime (package faketime), which this campaign needs");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_update_log_are_read() {
        assert_eq!(seconds("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(seconds("2026-11-21T08:42:31.650Z"), Some(1_795_250_551));
        assert_eq!(seconds("2000-02-29T23:59:59Z"), Some(951_868_799));
        assert_eq!(seconds("yesterday"), None);
    }
}
