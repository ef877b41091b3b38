//! `kill -9` at every file system call of every kind of commit, through `strace --inject`.
//!
//! The calls are counted in a life without a kill. Then for each of them there is one life: the Coordinator is killed at
//! the entry of the call, started again, and has to tell exactly what was acknowledged, or that and the one step that
//! was being done.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::commits::{KINDS, Kind, Outcome, act, look, opens_for_its_holder};
use super::coordinator::state;
use super::deployment::{Cast, tell};
use super::strace::{Life, Point, Trace, points};
use super::templates::Templates;
use super::{Report, Setting, block_on};

/// Kill points of each kind with `--quick`.
const QUICK: usize = 7;

/// What is expected of a kind after so many steps.
struct Expected {
    kind: Kind,
    told: Vec<Value>,
    points: Vec<Point>,
}

/// Tallies of all lives.
#[derive(Default)]
struct Tally {
    killed: AtomicUsize,
    not_reached: AtomicUsize,
    kept_old: AtomicUsize,
    kept_new: AtomicUsize,
    recovered: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

/// Runs the campaign.
pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    ensure!(
        Command::new("strace")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success()),
        "there is no strace, which this campaign needs"
    );
    let folder = setting.folder("kill")?;
    let cast = Cast::new(&setting.root)?;
    let templates = block_on(Templates::make(setting, &cast, &folder.join("templates")))?;
    let mut report = Report::new("kill -9 at file system calls");
    let (mut expectations, mut planned) = (Vec::new(), 0);
    for kind in KINDS {
        let expected = expect(setting, &cast, &templates, kind, &folder)
            .with_context(|| format!("without a kill: {}", kind.name()))?;
        planned += expected.points.len();
        expectations.push(expected);
    }
    planted(setting, &cast, &templates, &expectations, &folder)?;
    report.say("planted: a lost change, an empty folder and a lost key were found by the checker");

    let tally = Tally::default();
    let jobs: Vec<(&Expected, &Point)> = expectations
        .iter()
        .flat_map(|expected| expected.points.iter().map(move |point| (expected, point)))
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..setting.workers {
            let (tally, jobs, next, cast, templates) = (&tally, &jobs, &next, &cast, &templates);
            let place = folder.join(format!("worker-{worker}"));
            scope.spawn(move || {
                while let Some((expected, point)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = one_life(setting, cast, templates, expected, point, &place, tally) {
                        let what = format!(
                            "{}, {} {}: {error:#}",
                            expected.kind.name(),
                            point.call,
                            point.number
                        );
                        tally
                            .violations
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(what);
                    }
                }
            });
        }
    });
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let killed = count(&tally.killed);
    report.say(format!(
        "{killed} kills at {planned} planned calls of {} kinds of commits ({} were not reached again); the change in \
         flight was kept {} times and not kept {} times; {} lives waited for recovery as planned and were recovered",
        KINDS.len(),
        count(&tally.not_reached),
        count(&tally.kept_new),
        count(&tally.kept_old),
        count(&tally.recovered),
    ));
    report.violations = tally.violations.into_inner().unwrap_or_default();
    let least = if setting.quick { KINDS.len() * 2 } else { 500 };
    if killed < least {
        report
            .violations
            .push(format!("only {killed} kills, expected at least {least}"));
    }
    report.say(format!(
        "{} acknowledged changes lost, fresh starts or unplanned recoveries",
        report.violations.len()
    ));
    Ok(report)
}

/// What is told after each number of steps, and the calls that all of them make.
fn expect(
    setting: &Setting,
    cast: &Cast,
    templates: &Templates,
    kind: Kind,
    folder: &Path,
) -> anyhow::Result<Expected> {
    let place = folder.join("expected");
    let deep = deep(setting, kind);
    let mut told = Vec::new();
    if kind.steps() > 1 && !deep {
        // Telling spends nothing: one life is enough.
        templates.copy(kind, &fresh(&place)?)?;
        let mut life = Life::begin(setting, kind, &place, None)?;
        for step in 0..=kind.steps() {
            told.push(block_on(tell(
                setting,
                cast,
                &life.coordinator,
                kind.same_deployment(),
                deep,
            ))?);
            let next = step..(step + 1).min(kind.steps());
            block_on(act(setting, cast, templates, kind, &mut life.coordinator, next))?;
        }
        life.end()?;
    } else {
        for steps in 0..=kind.steps() {
            templates.copy(kind, &fresh(&place)?)?;
            if steps > 0 {
                let mut life = Life::begin(setting, kind, &place, None)?;
                let outcome = block_on(act(
                    setting,
                    cast,
                    templates,
                    kind,
                    &mut life.coordinator,
                    0..steps,
                ))?;
                ensure!(
                    outcome.acknowledged == steps,
                    "only {} steps",
                    outcome.acknowledged
                );
                life.end()?;
            }
            told.push(block_on(look(setting, cast, templates, kind, &place, deep))?);
        }
    }
    let log = folder.join("calls");
    templates.copy(kind, &fresh(&place)?)?;
    let mut life = Life::begin(setting, kind, &place, Some(Trace::Count(&log)))?;
    if !kind.is_start() {
        block_on(act(
            setting,
            cast,
            templates,
            kind,
            &mut life.coordinator,
            0..kind.steps(),
        ))?;
    }
    life.end()?;
    let all = points(&log, kind.is_start())?;
    let points = if setting.quick { spread(&all, QUICK) } else { all };
    Ok(Expected { kind, told, points })
}

/// Whether budgets and counters are spent to know them, which takes most of the time.
fn deep(setting: &Setting, kind: Kind) -> bool {
    !setting.quick || matches!(kind, Kind::Activation | Kind::Counter)
}

/// So many of them, evenly.
fn spread(all: &[Point], count: usize) -> Vec<Point> {
    let step = all.len().div_ceil(count).max(1);
    all.iter().skip(step / 2).step_by(step).cloned().collect()
}

fn one_life(
    setting: &Setting,
    cast: &Cast,
    templates: &Templates,
    expected: &Expected,
    point: &Point,
    place: &Path,
    tally: &Tally,
) -> anyhow::Result<()> {
    let kind = expected.kind;
    let place = fresh(place)?;
    templates.copy(kind, &place)?;
    let mut life = Life::begin(setting, kind, &place, Some(Trace::Kill(point)))?;
    let outcome = if kind.is_start() {
        Outcome::default()
    } else {
        block_on(act(
            setting,
            cast,
            templates,
            kind,
            &mut life.coordinator,
            0..kind.steps(),
        ))?
    };
    if life.end()? {
        tally.killed.fetch_add(1, Ordering::Relaxed);
    } else {
        tally.not_reached.fetch_add(1, Ordering::Relaxed);
    }
    let told = block_on(look(setting, cast, templates, kind, &place, deep(setting, kind)))?;
    match verdict(&expected.told, outcome.acknowledged, &told)? {
        Kept::Old => tally.kept_old.fetch_add(1, Ordering::Relaxed),
        Kept::New => tally.kept_new.fetch_add(1, Ordering::Relaxed),
    };
    if told.get("phase") == Some(&Value::from(1)) {
        tally.recovered.fetch_add(1, Ordering::Relaxed);
    }
    if kind == Kind::RecoveryKeys {
        let applied = expected.told.last() == Some(&told);
        // Who was not told the new secrets cannot have them: the change was not acknowledged.
        if !applied || outcome.new_secrets.is_some() {
            let secrets = outcome.new_secrets.as_ref().filter(|_| applied);
            block_on(opens_for_its_holder(setting, cast, templates, &place, secrets))
                .context("recovering it afterwards")?;
            tally.recovered.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// What became of the change that was being made.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Old,
    New,
}

/// Whether what was found is what was acknowledged, or that and one step more.
fn verdict(expected: &[Value], acknowledged: usize, told: &Value) -> anyhow::Result<Kept> {
    if expected.get(acknowledged) == Some(told) {
        return Ok(Kept::Old);
    }
    if expected.get(acknowledged + 1) == Some(told) {
        return Ok(Kept::New);
    }
    let phase = |value: &Value| value.get("phase").cloned().unwrap_or_default();
    let wanted = expected.get(acknowledged).cloned().unwrap_or_default();
    match (phase(&wanted).as_u64(), phase(told).as_u64()) {
        (Some(3 | 1), Some(2)) => bail!("a fresh start"),
        (Some(3), Some(1)) => bail!("an unplanned recovery"),
        _ => bail!("{acknowledged} steps were acknowledged; expected {wanted}, found {told}"),
    }
}

/// Faults the checker has to find.
fn planted(
    setting: &Setting,
    cast: &Cast,
    templates: &Templates,
    expectations: &[Expected],
    folder: &Path,
) -> anyhow::Result<()> {
    let kind = Kind::Secrets;
    let expected = expectations
        .iter()
        .find(|expected| expected.kind == kind)
        .context("no such kind")?;
    for (fault, message) in [
        ("cut", "steps were acknowledged"),
        ("empty", "a fresh start"),
        ("key", "an unplanned recovery"),
    ] {
        let place = fresh(&folder.join("planted"))?;
        templates.copy(kind, &place)?;
        let data = state(&place).join("sealed_data");
        let mut life = Life::begin(setting, kind, &place, None)?;
        block_on(act(setting, cast, templates, kind, &mut life.coordinator, 0..2))?;
        let before = std::fs::metadata(&data)?.len();
        block_on(act(setting, cast, templates, kind, &mut life.coordinator, 2..3))?;
        life.end()?;
        match fault {
            "cut" => std::fs::OpenOptions::new()
                .write(true)
                .open(&data)?
                .set_len(before)?,
            "empty" => {
                std::fs::remove_dir_all(state(&place))?;
                std::fs::create_dir(state(&place))?;
            }
            _ => std::fs::remove_file(state(&place).join("sealed_key"))?,
        }
        let told = block_on(look(setting, cast, templates, kind, &place, deep(setting, kind)))?;
        match verdict(&expected.told, kind.steps(), &told) {
            Ok(_) => bail!("the checker does not find the planted fault `{fault}`"),
            Err(error) => ensure!(error.to_string().contains(message), "{fault}: {error}"),
        }
    }
    Ok(())
}

fn fresh(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(folder.to_owned())
}
