//! A disk that is really full: an ext4 image of 4 MB, or a tmpfs of 4 MB where loop devices are not allowed.
//!
//! While it is full, writes are refused with a clear error and reads go on; when there is room again, writes are taken
//! without a restart; what was acknowledged is there after a kill, also one on the full disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use marblerun_client::{Attested, RequestError};
use serde_json::Value;

use super::coordinator::{Coordinator, Start, copy_folder, state};
use super::deployment::{Cast, connect, tell, write};
use super::{Report, Setting, block_on};

/// Bytes of a value that is uploaded.
const VALUE: usize = 60 << 10;
/// Bytes that are left in every other round.
const LITTLE_ROOM: u64 = 150 << 10;
/// Uploads before it is taken that the disk is not full.
const UPLOADS: u32 = 100;
/// How often the disk is filled.
const ROUNDS: usize = 12;
const QUICK_ROUNDS: usize = 3;

/// Runs the campaign.
pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    let mut report = Report::new("a full disk");
    let folder = setting.folder("full-disk")?;
    let mount = Mount::new(&folder)?;
    report.say(format!("on {}", mount.kind));
    let cast = Cast::new(&setting.root)?;
    let mut refused = 0;
    let rounds = if setting.quick { QUICK_ROUNDS } else { ROUNDS };
    let place = folder.join("place");
    std::fs::create_dir(&place)?;
    // The log stays elsewhere, so that it can be read.
    std::fs::create_dir(mount.path.join("state"))?;
    std::os::unix::fs::symlink(mount.path.join("state"), state(&place))?;
    let mut coordinator = Coordinator::running(setting, &place, &Start::default())?;
    let set = async || -> anyhow::Result<()> {
        let manifest = cast.manifest().to_string();
        connect(&coordinator, None)
            .await?
            .set_manifest(manifest.as_bytes())
            .await?;
        Ok(())
    };
    block_on(set())?;
    let mut known = Known::default();
    for round in 0..rounds {
        let filler = mount.path.join("filler");
        fill(&filler)?;
        // With a little room a commit fails only after some; a checkpoint may then make enough for all.
        let little_room = round % 2 == 1;
        if little_room {
            let file = std::fs::OpenOptions::new().write(true).open(&filler)?;
            file.set_len(file.metadata()?.len().saturating_sub(LITTLE_ROOM))?;
        }
        match block_on(until_refused(&cast, &coordinator, &mut known)) {
            Ok(true) => refused += 1,
            Ok(false) if little_room => {}
            Ok(false) => report
                .violations
                .push(format!("round {round}: a full disk takes everything")),
            Err(error) => report.violations.push(format!("round {round}: {error:#}")),
        }
        let log = coordinator.log();
        if !log.contains("No space left on device") {
            report
                .violations
                .push(format!("round {round}: the log does not say why"));
        }
        if round % 3 == 2 {
            // Killed while it is full; it has to start on the full disk.
            coordinator.kill()?;
            coordinator = Coordinator::running(setting, &place, &Start::default())?;
            let found = block_on(read_a(&cast, &coordinator))?;
            known.check(&found, &mut report, "after a kill on the full disk");
        }
        std::fs::remove_file(&filler)?;
        let resumed = block_on(async {
            let admin = connect(&coordinator, Some(&cast.admin)).await?;
            known.write_a(&admin).await
        });
        if let Err(error) = resumed {
            report.violations.push(format!(
                "round {round}: with room again it does not resume: {error:#}"
            ));
        }
    }
    // One more behind it, as a frame of its own: the planted fault takes it away.
    block_on(async {
        let admin = connect(&coordinator, Some(&cast.admin)).await?;
        known.write_a(&admin).await?;
        known.write_a(&admin).await
    })?;
    coordinator.kill()?;
    // Elsewhere: telling spends what there is.
    let copy = folder.join("copy");
    copy_folder(&mount.path.join("state"), &state(&copy))?;
    let again = Coordinator::running(setting, &copy, &Start::default())?;
    let told = block_on(tell(setting, &cast, &again, true, true))?;
    ensure!(
        told.get("phase") == Some(&Value::from(3)),
        "the state does not open: {told}"
    );
    let found = block_on(read_a(&cast, &again))?;
    known.check(&found, &mut report, "at the end");
    planted(
        setting,
        &cast,
        &mount.path.join("state"),
        &folder.join("planted"),
        &known,
    )?;
    report.say("planted: an acknowledged write that was taken away was found by the checker");
    report.say(format!(
        "{rounds} times full, {refused} times refused with a clear error and read from all the while, {} writes \
         acknowledged, {} violations",
        known.writes,
        report.violations.len()
    ));
    Ok(report)
}

/// What whoever uploads knows of the secret `a`.
#[derive(Default)]
struct Known {
    acknowledged: u64,
    /// Numbers whose outcome is unknown, newer than the acknowledged one.
    unknown: Vec<u64>,
    next: u64,
    writes: u64,
}

impl Known {
    /// Uploads the next small value.
    async fn write_a(&mut self, admin: &Attested) -> anyhow::Result<()> {
        self.next += 1;
        let number = self.next;
        match write(admin, &[("a", number.to_string().as_bytes())]).await {
            Ok(()) => {
                self.acknowledged = number;
                self.unknown.clear();
                self.writes += 1;
                Ok(())
            }
            Err(error) => {
                self.unknown.push(number);
                Err(error)
            }
        }
    }

    fn fits(&self, found: &str) -> bool {
        let found: Option<u64> = if found.is_empty() {
            Some(0)
        } else {
            found.parse().ok()
        };
        found.is_some_and(|found| found == self.acknowledged || self.unknown.contains(&found))
    }

    fn check(&self, found: &str, report: &mut Report, when: &str) {
        if !self.fits(found) {
            report.violations.push(format!(
                "{when}: {} was acknowledged, {found} was found",
                self.acknowledged
            ));
        }
    }
}

/// Uploads until it is refused, looks at the refusal, and reads; `false` if it never is.
async fn until_refused(cast: &Cast, coordinator: &Coordinator, known: &mut Known) -> anyhow::Result<bool> {
    let admin = connect(coordinator, Some(&cast.admin)).await?;
    let mut refusals = 0;
    for attempt in 0..UPLOADS {
        let mut value = attempt.to_le_bytes().to_vec();
        value.resize(VALUE, 1);
        let refused = match write(&admin, &[("big", &value)]).await {
            Ok(()) => {
                known.writes += 1;
                None
            }
            Err(error) => Some(error),
        };
        let Some(error) = refused else { continue };
        refusals += 1;
        match error.downcast_ref::<RequestError>() {
            Some(RequestError::Refused {
                status: 503, message, ..
            }) if message.contains("could not be written") || message.contains("cannot be written") => {}
            _ => bail!("the refusal is not clear: {error:#}"),
        }
        // Small ones are refused too, as long as the state cannot be written anew.
        let small = known.write_a(&admin).await;
        let found = read_a(cast, coordinator).await?;
        ensure!(
            found.parse() == Ok(known.acknowledged) || (known.acknowledged == 0 && found.is_empty()),
            "{} was acknowledged, {found} is served",
            known.acknowledged
        );
        ensure!(
            connect(coordinator, None).await?.status().await?.code == 3,
            "another phase"
        );
        connect(coordinator, None).await?.manifest().await?;
        if small.is_err() || refusals >= 3 {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn read_a(cast: &Cast, coordinator: &Coordinator) -> anyhow::Result<String> {
    let admin = connect(coordinator, Some(&cast.admin)).await?;
    let secrets = admin.read_secrets(&["a"]).await?;
    let value = secrets.0.get("a").and_then(|secret| secret.private.as_ref());
    Ok(value
        .map(|value| String::from_utf8_lossy(value.expose()).into_owned())
        .unwrap_or_default())
}

/// A state from which the last acknowledged write was taken away must not pass.
fn planted(setting: &Setting, cast: &Cast, whole: &Path, place: &Path, known: &Known) -> anyhow::Result<()> {
    copy_folder(whole, &state(place))?;
    let data = std::fs::OpenOptions::new()
        .write(true)
        .open(state(place).join("sealed_data"))?;
    data.set_len(data.metadata()?.len().saturating_sub(1))?;
    let coordinator = Coordinator::running(setting, place, &Start::default())?;
    let found = block_on(read_a(cast, &coordinator))?;
    ensure!(
        !known.fits(&found),
        "the checker does not find a lost write: {found}"
    );
    Ok(())
}

/// Writes zeros until there is no room.
fn fill(path: &Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    let (mut size, zeros) = (64 << 10, vec![0; 64 << 10]);
    while size > 0 {
        match file.write(zeros.get(..size).unwrap_or_default()) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => size /= 2,
            Err(error) => return Err(error).context("filling the disk"),
        }
    }
    Ok(())
}

/// A small file system; unmounted when dropped.
struct Mount {
    path: PathBuf,
    kind: &'static str,
}

impl Mount {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("mount");
        std::fs::create_dir(&path)?;
        let image = folder.join("image");
        std::fs::File::create(&image)?.set_len(4 << 20)?;
        let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let ext4 = done(Command::new("mkfs.ext4").arg("-q").arg(&image))
            && done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&path));
        if ext4 {
            return Ok(Self {
                path,
                kind: "ext4 in an image of 4 MB",
            });
        }
        if done(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=4m", "none"])
                .arg(&path),
        ) {
            return Ok(Self {
                path,
                kind: "a tmpfs of 4 MB: loop devices are not allowed here",
            });
        }
        bail!(
            "nothing can be mounted here, which this campaign needs: run it as root, or leave it out with --only"
        );
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What still uses it is said by the removal of the folder, which fails then.
        let _ = Command::new("umount").arg(&self.path).output();
    }
}
