//! A copy of the directory, taken at any moment under load, opens: with the key file at once, without it by recovery.
//!
//! Two users upload numbers and large values all the while, so that copies meet commits and checkpoints. A copy has to
//! hold at least what was acknowledged before it began, and nothing that was not asked before it ended.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::commits::Kind;
use super::coordinator::{Coordinator, Start, state};
use super::deployment::{Cast, connect, recover, write};
use super::templates::Templates;
use super::{Report, Setting, block_on};

const COPIES: usize = 150;
const QUICK_COPIES: usize = 14;
/// Bytes of the large values.
const LARGE: usize = 200 << 10;

/// What the uploads have come to.
#[derive(Default)]
struct Load {
    asked: AtomicU64,
    acknowledged: AtomicU64,
    large: AtomicU64,
    over: AtomicBool,
}

/// Runs the campaign.
pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    let mut report = Report::new("copies under load");
    let folder = setting.folder("copies")?;
    let cast = Cast::new(&setting.root)?;
    let templates = block_on(Templates::make(setting, &cast, &folder.join("templates")))?;
    let place = folder.join("source");
    templates.copy(Kind::Secrets, &place)?;
    let coordinator = Coordinator::running(setting, &place, &Start::default())?;
    // What the template holds.
    let load = Load {
        asked: AtomicU64::new(1),
        acknowledged: AtomicU64::new(1),
        ..Load::default()
    };
    let wanted = if setting.quick { QUICK_COPIES } else { COPIES };
    let (checkpoints, recovered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut last_length = 0;
    let outcome = std::thread::scope(|scope| {
        let numbers = scope.spawn(|| block_on(upload_numbers(&cast, &coordinator, &load)));
        let large = scope.spawn(|| block_on(upload_large(&cast, &coordinator, &load)));
        let outcome = (0..wanted).try_for_each(|number| {
            // Not in step with anything.
            std::thread::sleep(Duration::from_millis(7 + (number as u64 * 37) % 90));
            let copy = folder.join("copy");
            let least = load.acknowledged.load(Ordering::SeqCst);
            if copy.exists() {
                std::fs::remove_dir_all(&copy)?;
            }
            let with_key = number % 3 != 2;
            copy_state(&state(&place), &state(&copy), with_key, number % 2 == 0)?;
            let most = load.asked.load(Ordering::SeqCst);
            let length = std::fs::metadata(state(&copy).join("sealed_data"))?.len();
            if length < last_length {
                checkpoints.fetch_add(1, Ordering::Relaxed);
            }
            last_length = length;
            let (found, was_recovered) = block_on(open(setting, &cast, &templates, &copy))?;
            recovered.fetch_add(usize::from(was_recovered), Ordering::Relaxed);
            ensure!(
                was_recovered != with_key,
                "copy {number}: recovery {was_recovered}, key file {with_key}"
            );
            if let Err(error) = within(least, most, found) {
                report.violations.push(format!("copy {number}: {error}"));
            }
            Ok(())
        });
        load.over.store(true, Ordering::SeqCst);
        for thread in [numbers, large] {
            match thread.join() {
                Ok(done) => done?,
                Err(_) => bail!("an upload panicked"),
            }
        }
        outcome
    });
    outcome?;
    ensure!(
        within(5, 9, 4).is_err() && within(5, 9, 10).is_err(),
        "the checker takes anything"
    );
    report
        .say("planted: a copy that is too old, and one with what was never asked, were found by the checker");
    report.say(format!(
        "{wanted} copies under {} acknowledged uploads of numbers and {} of {LARGE} bytes, {} of them after a checkpoint \
         was published: all opened, {} by recovery, {} violations",
        load.acknowledged.load(Ordering::SeqCst),
        load.large.load(Ordering::SeqCst),
        checkpoints.load(Ordering::Relaxed),
        recovered.load(Ordering::Relaxed),
        report.violations.len()
    ));
    Ok(report)
}

/// Whether a copy holds all it has to and nothing it cannot.
fn within(least: u64, most: u64, found: u64) -> anyhow::Result<()> {
    ensure!(
        (least..=most).contains(&found),
        "{least} was acknowledged before, {most} asked before its end, {found} is in it"
    );
    Ok(())
}

async fn upload_numbers(cast: &Cast, coordinator: &Coordinator, load: &Load) -> anyhow::Result<()> {
    let admin = connect(coordinator, Some(&cast.admin)).await?;
    while !load.over.load(Ordering::SeqCst) {
        let number = load.asked.fetch_add(1, Ordering::SeqCst) + 1;
        write(&admin, &[("a", number.to_string().as_bytes())]).await?;
        load.acknowledged.store(number, Ordering::SeqCst);
    }
    Ok(())
}

async fn upload_large(cast: &Cast, coordinator: &Coordinator, load: &Load) -> anyhow::Result<()> {
    let admin = connect(coordinator, Some(&cast.admin)).await?;
    while !load.over.load(Ordering::SeqCst) {
        let number = load.large.fetch_add(1, Ordering::SeqCst);
        let mut value = number.to_le_bytes().to_vec();
        value.resize(LARGE, 3);
        write(&admin, &[("big", &value)]).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// As an administrator copies: one file after the other, in either order.
fn copy_state(from: &Path, to: &Path, with_key: bool, key_first: bool) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut names = vec!["sealed_data"];
    if with_key {
        names.push("sealed_key");
        names.push("simulation_seal_key");
    }
    if key_first {
        names.reverse();
    }
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).with_context(|| format!("copying {name}"))?;
    }
    Ok(())
}

/// The number in a copy, and whether it had to be recovered.
async fn open(
    setting: &Setting,
    cast: &Cast,
    templates: &Templates,
    copy: &Path,
) -> anyhow::Result<(u64, bool)> {
    let began = Instant::now();
    let coordinator = Coordinator::running(setting, copy, &Start::default())?;
    let anybody = connect(&coordinator, None).await?;
    let waits = anybody.status().await?.code == 1;
    if waits {
        recover(&anybody, &cast.one, &templates.secret).await?;
    }
    let admin = connect(&coordinator, Some(&cast.admin)).await?;
    let secrets = admin.read_secrets(&["a"]).await?;
    let value = secrets
        .0
        .get("a")
        .and_then(|secret| secret.private.as_ref())
        .context("no value")?;
    let text = String::from_utf8(value.expose().to_vec())?;
    ensure!(
        began.elapsed() < Duration::from_secs(30),
        "opening took {:?}",
        began.elapsed()
    );
    Ok((text.parse()?, waits))
}
