//! Damage: every bit of headers and of the clear parts of frames, blocks at random elsewhere.
//!
//! Outside the last frame the start is refused, naming file and offset; inside it, it is reported as a torn tail, and
//! what was acknowledged before is there. Never a panic, never a fresh start.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};

use super::commits::Kind;
use super::coordinator::{Coordinator, Start, Started, copy_folder, state};
use super::deployment::{Cast, connect};
use super::templates::Templates;
use super::{Report, Setting, block_on};

/// Clear bytes of a frame (`docs/state-format.md`).
const FRAME_HEAD: usize = 89;
/// What a frame begins with.
const MARKER: &[u8] = b"\xa5mrblfrm";
/// Bytes of a damaged block.
const BLOCK: usize = 512;
/// Damaged blocks.
const BLOCKS: usize = 200;
/// Damages that are tried with `--quick`.
const QUICK: usize = 300;

/// What is done to a file.
#[derive(Debug, Clone)]
enum Damage {
    Bit { offset: usize, bit: u8 },
    Block { offset: usize, seed: u64 },
}

impl Damage {
    fn offset(&self) -> usize {
        match self {
            Self::Bit { offset, .. } | Self::Block { offset, .. } => *offset,
        }
    }

    fn apply(&self, bytes: &mut [u8]) {
        match self {
            Self::Bit { offset, bit } => {
                if let Some(byte) = bytes.get_mut(*offset) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Block { offset, seed } => {
                let mut state = *seed;
                for byte in bytes.iter_mut().skip(*offset).take(BLOCK) {
                    state = next(state);
                    // Never the byte that was there.
                    *byte ^= ((state >> 33) as u8) | 1;
                }
            }
        }
    }
}

/// SplitMix64: the same damages in every run.
fn next(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[derive(Default)]
struct Tally {
    refused: AtomicUsize,
    torn: AtomicUsize,
    recovery: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

/// Runs the campaign.
pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    let mut report = Report::new("bit rot");
    let folder = setting.folder("bit-rot")?;
    let cast = Cast::new(&setting.root)?;
    let templates = block_on(Templates::make(setting, &cast, &folder.join("templates")))?;
    let whole = templates.of(Kind::Secrets);
    let data = std::fs::read(state(whole).join("sealed_data"))?;
    let key = std::fs::read(state(whole).join("sealed_key"))?;
    let frames = frames(&data);
    let (first, last) = match (frames.first(), frames.last()) {
        (Some(first), Some(last)) if first < last => (*first, *last),
        _ => bail!(
            "expected a checkpoint and groups behind it, found {} frames",
            frames.len()
        ),
    };
    let bits = |range: std::ops::Range<usize>| {
        range.flat_map(|offset| (0..8).map(move |bit| Damage::Bit { offset, bit }))
    };
    let mut damages: Vec<(&str, Damage)> = Vec::new();
    damages.extend(bits(0..first).map(|damage| ("sealed_data", damage)));
    for frame in &frames {
        let end = (frame + FRAME_HEAD).min(data.len());
        damages.extend(bits(*frame..end).map(|damage| ("sealed_data", damage)));
    }
    let mut seed = 1;
    for _ in 0..BLOCKS {
        seed = next(seed);
        let mut offset = (seed as usize) % data.len();
        // What hits the last frame and the one before at once is damage inside the last one, too.
        if offset < last && offset + BLOCK > last {
            offset = last.saturating_sub(BLOCK);
        }
        damages.push(("sealed_data", Damage::Block { offset, seed }));
    }
    damages.extend(bits(0..key.len()).map(|damage| ("sealed_key", damage)));
    let all = damages.len();
    if setting.quick {
        let step = all.div_ceil(QUICK).max(1);
        damages = damages.into_iter().step_by(step).collect();
    }

    let tally = Tally::default();
    let following = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..setting.workers {
            let place = folder.join(format!("worker-{worker}"));
            let (tally, following, damages) = (&tally, &following, &damages);
            scope.spawn(move || {
                while let Some((file, damage)) = damages.get(following.fetch_add(1, Ordering::Relaxed)) {
                    let expected = expected(file, damage, last);
                    if let Err(error) = one(setting, whole, &place, file, Some(damage), expected, tally) {
                        let mut violations = tally.violations.lock().unwrap_or_else(PoisonError::into_inner);
                        violations.push(format!("{file}, {damage:?}: {error:#}"));
                    }
                }
            });
        }
    });
    // Without any damage none of the three verdicts may be given.
    let spare = Tally::default();
    for expected in [Expected::Refused, Expected::Torn, Expected::Recovery] {
        let found = one(
            setting,
            whole,
            &folder.join("planted"),
            "sealed_data",
            None,
            expected,
            &spare,
        );
        ensure!(
            found.is_err(),
            "the checker sees damage where there is none: {expected:?}"
        );
    }
    report.say("planted: a state without damage got none of the verdicts");
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    report.violations = tally.violations.into_inner().unwrap_or_default();
    report.say(format!(
        "{} of {all} damages: {} starts refused with file and offset, {} torn tails reported, {} damaged key files led to \
         recovery, {} violations",
        damages.len(),
        count(&tally.refused),
        count(&tally.torn),
        count(&tally.recovery),
        report.violations.len()
    ));
    Ok(report)
}

/// Where the frames begin.
fn frames(data: &[u8]) -> Vec<usize> {
    let windows = data.windows(MARKER.len()).enumerate();
    windows
        .filter(|(_, window)| *window == MARKER)
        .map(|(offset, _)| offset)
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Refused,
    Torn,
    Recovery,
}

fn expected(file: &str, damage: &Damage, last: usize) -> Expected {
    match file {
        "sealed_key" => Expected::Recovery,
        _ if damage.offset() >= last => Expected::Torn,
        _ => Expected::Refused,
    }
}

fn one(
    setting: &Setting,
    whole: &Path,
    place: &Path,
    file: &str,
    damage: Option<&Damage>,
    expected: Expected,
    tally: &Tally,
) -> anyhow::Result<()> {
    if place.exists() {
        std::fs::remove_dir_all(place)?;
    }
    copy_folder(whole, place)?;
    let path = state(place).join(file);
    let mut bytes = std::fs::read(&path)?;
    if let Some(damage) = damage {
        damage.apply(&mut bytes);
    }
    std::fs::write(&path, &bytes)?;
    let started = Coordinator::start(setting, place, &Start::default())?;
    match (started, expected) {
        (Started::Ended(status, log), Expected::Refused) => {
            ensure!(
                status.code() == Some(1) && !log.contains("panicked"),
                "{status}: {log}"
            );
            let last = log.lines().last().unwrap_or_default();
            let names_both =
                last.contains("sealed_data") && (last.contains("offset") || last.contains("not a file"));
            ensure!(names_both, "it says: {last}");
            ensure!(std::fs::read(&path)? == bytes, "the file was changed");
            tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        (Started::Ready(coordinator), Expected::Torn) => {
            let log = coordinator.log();
            ensure!(
                phase(&coordinator)? == 3,
                "it is in phase {}",
                phase(&coordinator)?
            );
            ensure!(
                log.contains("torn") || log.contains("cut short"),
                "the torn tail is not reported: {log}"
            );
            let aside = std::fs::read_dir(state(place))?.filter_map(Result::ok);
            let kept = aside
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("torn-"))
                .count();
            ensure!(kept == 1, "{kept} torn tails are kept");
            tally.torn.fetch_add(1, Ordering::Relaxed);
        }
        (Started::Ready(coordinator), Expected::Recovery) => {
            ensure!(
                phase(&coordinator)? == 1,
                "it is in phase {}",
                phase(&coordinator)?
            );
            tally.recovery.fetch_add(1, Ordering::Relaxed);
        }
        (Started::Ready(coordinator), Expected::Refused) => {
            bail!("it started, in phase {}", phase(&coordinator)?)
        }
        (Started::Ended(status, log), _) => bail!("it ended with {status}: {log}"),
    }
    Ok(())
}

fn phase(coordinator: &Coordinator) -> anyhow::Result<u8> {
    block_on(async {
        let connection = connect(coordinator, None).await?;
        Ok(connection.status().await.context("asking for the phase")?.code)
    })
}
