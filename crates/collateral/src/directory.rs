//! A directory of collateral files: for Coordinators and clients without a network, and what `marblerun collateral fetch`
//! writes. What a file holds is told by its content; only the ending of its name counts. See `docs/collateral.md`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use marblerun_attestation::{Collateral, UnixSeconds};
use rustix::fs::OFlags;

use crate::item::Item;
use crate::piece::{Dated, Key, Origin, Piece, SnpLine};

/// Most files that are read.
const MAXIMUM_FILES: usize = 4096;
/// Most files for the same that are tried.
const MAXIMUM_CANDIDATES: usize = 16;
/// Largest file, in bytes.
const MAXIMUM_SIZE: u64 = 1024 * 1024;

/// A directory, and what was in it when it was last read. Everything here blocks.
pub(crate) struct Directory {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    content: Arc<Content>,
}

/// A file, as far as it can be told from outside whether it changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    name: String,
    size: u64,
    modified: Option<SystemTime>,
    /// A file renamed into its place has another one, however soon it came.
    inode: u64,
    /// Why it is not even opened, for people.
    unusable: Option<String>,
}

/// Pieces by what they are for.
#[derive(Default)]
pub(crate) struct Content {
    /// The one that lasts longest comes first. Nothing is verified yet, so that others are there to fall back on: a file
    /// that claims to last longer must not displace one that holds.
    pub(crate) pieces: HashMap<Key, Vec<Candidate>>,
    /// How many files could not be read.
    pub(crate) unread: usize,
    /// The first of them, and why not.
    pub(crate) first_unread: Option<(String, String)>,
}

/// A piece, and what to call it in a warning.
#[derive(Clone)]
pub(crate) struct Candidate {
    /// Names of the files it was read from.
    pub(crate) files: String,
    pub(crate) dated: Arc<Dated>,
}

impl Directory {
    /// Reads the directory.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let directory = Self {
            path,
            state: Mutex::default(),
        };
        let (content, _) = directory.read()?;
        tracing::info!(
            directory = %directory.path.display(),
            pieces = content.pieces.len(),
            "collateral read from the directory"
        );
        Ok(directory)
    }

    /// What is in it now, and whether that differs from what was in it before. Files that cannot be read are passed over
    /// with a warning, once.
    pub(crate) fn read(&self) -> io::Result<(Arc<Content>, bool)> {
        let seen = list(&self.path)?;
        {
            let state = self.lock();
            if state.seen == seen {
                return Ok((Arc::clone(&state.content), false));
            }
        }
        let content = Arc::new(load(&self.path, &seen));
        let mut state = self.lock();
        state.seen = seen;
        state.content = Arc::clone(&content);
        Ok((content, true))
    }

    /// Nothing panics and nothing is read while the lock is held.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has a name that ends as those of collateral do, links followed, hidden ones left out.
fn list(path: &Path) -> io::Result<Vec<Seen>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (name, utf8) = match entry.file_name().into_string() {
            Ok(name) => (name, true),
            Err(name) => (name.to_string_lossy().into_owned(), false),
        };
        if !Item::is_name(&name) {
            continue;
        }
        let metadata = match fs::metadata(entry.path()) {
            Ok(_) if !utf8 => Err("its name is not UTF-8".to_owned()),
            Ok(metadata) if !metadata.is_file() => Err(NOT_A_FILE.to_owned()),
            Ok(metadata) => Ok(metadata),
            // One that has just gone; a link to nowhere is still there.
            Err(_) if fs::symlink_metadata(entry.path()).is_err() => continue,
            Err(error) => Err(error.to_string()),
        };
        files.push(match metadata {
            Ok(metadata) => Seen {
                name,
                size: metadata.len(),
                modified: metadata.modified().ok(),
                inode: metadata.ino(),
                unusable: None,
            },
            Err(why) => Seen {
                name,
                size: 0,
                modified: None,
                inode: 0,
                unusable: Some(why),
            },
        });
    }
    files.sort();
    if files.len() > MAXIMUM_FILES {
        tracing::warn!(
            directory = %path.display(),
            files = files.len(),
            "more than {MAXIMUM_FILES} files: the rest is passed over"
        );
        files.truncate(MAXIMUM_FILES);
    }
    Ok(files)
}

fn load(path: &Path, files: &[Seen]) -> Content {
    let mut items = Vec::new();
    let (mut unread, mut first_unread) = (0_usize, None);
    for Seen { name, unusable, .. } in files {
        let item = match unusable {
            Some(why) => Err(why.clone()),
            None => read_item(&path.join(name)),
        };
        match item {
            Ok(item) => items.push((name.as_str(), item)),
            Err(why) => {
                tracing::warn!(directory = %path.display(), file = name, why, "file passed over");
                unread = unread.saturating_add(1);
                first_unread.get_or_insert_with(|| (name.clone(), why));
            }
        }
    }
    Content {
        unread,
        first_unread,
        ..Content::of(items)
    }
}

/// What is no file.
const NOT_A_FILE: &str = "expected a regular file";

/// Reads one file. Pipes, devices and directories are refused, and never waited for.
///
/// # Errors
/// Why not, for people.
pub(crate) fn read_item(path: &Path) -> Result<Item, String> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let text = |error: io::Error| error.to_string();
    // Even to open a device may do something.
    if !fs::metadata(path).map_err(text)?.is_file() {
        return Err(NOT_A_FILE.to_owned());
    }
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed())
        .open(path)
        .map_err(text)?;
    // It may have been replaced in between.
    if !file.metadata().map_err(text)?.is_file() {
        return Err(NOT_A_FILE.to_owned());
    }
    file.take(MAXIMUM_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(text)?;
    if bytes.len() as u64 > MAXIMUM_SIZE {
        return Err(format!("larger than {MAXIMUM_SIZE} bytes"));
    }
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    Item::read(name, &bytes).map_err(|error| error.to_string())
}

impl Content {
    /// Of several files for the same, the one that lasts longest counts, if it holds. Each comes with its name.
    fn of<'n>(items: impl IntoIterator<Item = (&'n str, Item)>) -> Self {
        let mut content = Self::default();
        let mut chains: HashMap<_, Vec<_>> = HashMap::new();
        let mut lists: HashMap<_, Vec<_>> = HashMap::new();
        for (file, item) in items {
            match item {
                Item::Dcap { collateral, is_for } => {
                    let next_update = Some(collateral.next_update());
                    let piece = Piece::Dcap(Arc::new(Collateral::Dcap(collateral)));
                    content.add(Key::Dcap(is_for), file.to_owned(), piece, next_update);
                }
                Item::SnpEndorsement { der, says, until, .. } => {
                    let key = Key::SnpEndorsement(says.into());
                    content.add(key, file.to_owned(), Piece::SnpEndorsement(der), Some(until));
                }
                Item::SnpChain {
                    pem,
                    product,
                    signing_key,
                    ..
                } => {
                    chains
                        .entry((product, signing_key))
                        .or_default()
                        .push((file, pem));
                }
                Item::SnpList { der, info } => {
                    lists
                        .entry(info.product)
                        .or_default()
                        .push((file, info.until, der));
                }
            }
        }
        for product in marblerun_attestation::claims::SnpProduct::ALL {
            for key in crate::piece::SIGNING_KEYS {
                let chains = some_or_none(chains.remove(&(product, key)));
                let lists = some_or_none(lists.get(&product).cloned());
                for chain in &chains {
                    for list in &lists {
                        let line = SnpLine {
                            chain: chain.as_ref().map(|(_, pem)| pem.clone()),
                            list: list.as_ref().map(|(_, _, der)| der.clone()),
                            rest: None,
                        };
                        let until = list.as_ref().map(|(_, until, _)| *until);
                        let names = [
                            chain.as_ref().map(|(file, _)| *file),
                            list.as_ref().map(|(file, ..)| *file),
                        ];
                        if line != SnpLine::default() {
                            let files = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
                            content.add(Key::SnpLine(product, key), files, Piece::SnpLine(line), until);
                        }
                    }
                }
            }
        }
        content
    }

    fn add(&mut self, key: Key, files: String, piece: Piece, next_update: Option<UnixSeconds>) {
        let dated = Dated {
            piece,
            next_update,
            origin: Origin::Directory,
        };
        let candidates = self.pieces.entry(key).or_default();
        let place = candidates.partition_point(|held| held.dated.next_update > dated.next_update);
        let dated = Arc::new(dated);
        candidates.insert(place, Candidate { files, dated });
        candidates.truncate(MAXIMUM_CANDIDATES);
    }
}

/// Each of them, or that there is none.
fn some_or_none<T>(values: Option<Vec<T>>) -> Vec<Option<T>> {
    match values {
        Some(values) if !values.is_empty() => values.into_iter().map(Some).collect(),
        _ => vec![None],
    }
}
