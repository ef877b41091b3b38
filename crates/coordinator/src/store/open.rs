//! The start: what a store holds, and whether it opens (`spec/06`, "Start").

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use marblerun_core::ambient::Dice;
use marblerun_core::original::OriginalHeader;
use marblerun_core::recovery::Lock;
use marblerun_core::sealed::{
    Header, KeyBinding, KeyFile, KeyFileError, SealedError, TornTail, open_state, root_certificate_hash,
};
use marblerun_core::state::State;

use super::journal::SealedJournal;
use super::{Store, StoreError, Stored};
use crate::seal::{SealKeyError, SealKeys};

/// What the start found, and what makes changes durable from now on.
pub struct Opened {
    /// What there is.
    pub found: Found,
    /// Makes changes durable. With [`Found::Nothing`] and [`Found::Locked`] the first state it is given is
    /// written as a new one; a locked state is then kept aside.
    pub journal: SealedJournal,
    /// What whoever runs the Coordinator should read.
    pub notices: Vec<Notice>,
}

/// What there is in a store.
pub enum Found {
    /// No state, and no sign that there ever was one: phase 2.
    Nothing,
    /// The state: phase 3.
    State(Box<State>),
    /// A state that this enclave's seal key does not open, or one of the original: phase 1.
    Locked {
        /// What its clear part says: how it can be recovered.
        lock: Lock,
        /// Why it does not open.
        reason: String,
    },
}

/// Something the start did or saw that is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The last write was cut short by a crash; nobody had been told that it was done.
    TornTailCut {
        /// The sealed file.
        path: PathBuf,
        /// Where it was cut, and how much.
        tail: TornTail,
        /// Where the bytes are kept.
        kept: String,
    },
    /// The last write was cut short, and what is left of it cannot be removed, as on a full disk. The state can be
    /// read; changes are refused until it can.
    TornTailStays {
        /// The sealed file.
        path: PathBuf,
        /// Where it is to be cut, and how much.
        tail: TornTail,
        /// Why it cannot.
        reason: String,
    },
    /// `--fresh` was given, but there is a state.
    FreshIgnored {
        /// The sealed file.
        path: PathBuf,
    },
    /// `--fresh` was given, and what is there will be kept aside when a manifest is set.
    StartedFresh {
        /// What is there.
        found: Vec<String>,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTailCut { path, tail, kept } => write!(
                f,
                "{}: a write that was cut short was removed at offset {} ({} bytes, kept as {kept})",
                path.display(),
                tail.offset,
                tail.length
            ),
            Self::TornTailStays { path, tail, reason } => write!(
                f,
                "{}: a write that was cut short is at offset {} ({} bytes) and cannot be removed: {reason}. \
                 No change is accepted until it can",
                path.display(),
                tail.offset,
                tail.length
            ),
            Self::FreshIgnored { path } => {
                write!(f, "`--fresh` has no effect: {} holds a state", path.display())
            }
            Self::StartedFresh { found } => {
                write!(
                    f,
                    "started without a state because of `--fresh`, beside {}",
                    found.join(", ")
                )
            }
        }
    }
}

/// Looks at what a store holds and opens it with the seal key of this enclave.
///
/// 1. No sealed file: a start without a state, if nothing else says that there was one, or with `fresh`.
/// 2. A sealed file that is not ours is never taken for none, unless `fresh`; one that is damaged or newer
///    is always refused.
/// 3. No key file, or one that does not open: locked, with the reason. A key that should be there and cannot
///    be had is an error: recovery would be the wrong answer to a failing device.
/// 4. The key opens: everything is read, decrypted and applied. A torn tail is cut, any other damage refused.
///
/// # Errors
/// [`StoreError::StateMissing`], [`StoreError::Unreadable`], [`StoreError::SealKey`], [`StoreError::Io`].
pub fn open(
    mut store: Box<dyn Store>,
    seal: Arc<dyn SealKeys>,
    dice: Arc<dyn Dice>,
    fresh: bool,
) -> Result<Opened, StoreError> {
    let stored = store.load()?;
    let (data_path, key_path) = (store.sealed_data_path(), store.sealed_key_path());
    let mut journal = SealedJournal::new(store, seal, dice);
    let mut notices = Vec::new();

    let Some(data) = &stored.sealed_data else {
        let found = traces(&stored, &key_path);
        match (found.is_empty(), fresh) {
            (true, _) => {}
            (false, true) => notices.push(Notice::StartedFresh { found }),
            (false, false) => {
                return Err(StoreError::StateMissing {
                    path: data_path,
                    found,
                });
            }
        }
        return Ok(Opened {
            found: Found::Nothing,
            journal,
            notices,
        });
    };
    let header = match Header::parse(data) {
        Ok((header, _)) => header,
        Err(SealedError::NotOurs { .. }) if let Some(header) = OriginalHeader::parse(data) => {
            journal.keep_old = true;
            return Ok(Opened {
                found: Found::Locked {
                    lock: Lock::Original(header),
                    reason: "it is a state of the original, which recovery takes over".to_owned(),
                },
                journal,
                notices: fresh_ignored(fresh, &data_path),
            });
        }
        Err(SealedError::NotOurs { .. }) if fresh => {
            journal.keep_old = true;
            let found = vec![data_path.display().to_string()];
            notices.push(Notice::StartedFresh { found });
            return Ok(Opened {
                found: Found::Nothing,
                journal,
                notices,
            });
        }
        Err(problem) => {
            return Err(StoreError::Unreadable {
                path: data_path,
                problem,
            });
        }
    };
    notices.extend(fresh_ignored(fresh, &data_path));

    let locked = |mut journal: SealedJournal, notices, reason: String| {
        journal.keep_old = true;
        let lock = Lock::Ours(Box::new(header.clone()));
        Ok(Opened {
            found: Found::Locked { lock, reason },
            journal,
            notices,
        })
    };
    let key_file = match stored.sealed_key.as_deref().map(KeyFile::parse) {
        None => return locked(journal, notices, format!("there is no {}", key_path.display())),
        Some(Ok(key_file)) => key_file,
        Some(Err(problem @ SealedError::NewerVersion { .. })) => {
            return Err(StoreError::Unreadable {
                path: key_path,
                problem,
            });
        }
        Some(Err(problem)) => {
            return locked(journal, notices, format!("{}: {problem}", key_path.display()));
        }
    };
    let key = match unwrap(&key_file, &header, header.key_generation, &*journal.seal) {
        Ok(key) => key,
        Err(NoKey::Locked(reason)) => {
            return locked(journal, notices, format!("{}: {reason}", key_path.display()));
        }
        Err(NoKey::Failed(error)) => return Err(error),
    };
    let opened = match open_state(data, &key) {
        Err(SealedError::WrongKey) => {
            let reason = format!("{} holds another key than that of the state", key_path.display());
            return locked(journal, notices, reason);
        }
        opened => opened.map_err(|problem| StoreError::Unreadable {
            path: data_path.clone(),
            problem,
        })?,
    };
    if root_certificate_hash(&opened.state) != key_file.root_certificate() {
        let reason = format!(
            "{} belongs to a state with another root certificate",
            key_path.display()
        );
        return locked(journal, notices, reason);
    }
    if let Some(tail) = opened.end.torn {
        let path = data_path;
        notices.push(match journal.cut_torn_tail(&opened.end) {
            Ok(kept) => Notice::TornTailCut {
                path,
                tail,
                kept: kept.unwrap_or_default(),
            },
            Err(error) => {
                journal.cut_later(tail.offset);
                let reason = error.to_string();
                Notice::TornTailStays { path, tail, reason }
            }
        });
    }
    let before = header.key_generation.saturating_sub(1);
    let previous = unwrap(&key_file, &header, before, &*journal.seal)
        .ok()
        .map(|key| (before, key));
    journal.go_on_with(opened.end, Some(key_file.binding()), previous);
    Ok(Opened {
        found: Found::State(Box::new(opened.state)),
        journal,
        notices,
    })
}

fn fresh_ignored(fresh: bool, path: &std::path::Path) -> Vec<Notice> {
    let path = path.to_owned();
    fresh
        .then_some(Notice::FreshIgnored { path })
        .into_iter()
        .collect()
}

/// What says that there was a state.
fn traces(stored: &Stored, key_path: &std::path::Path) -> Vec<String> {
    let key = stored
        .sealed_key
        .is_some()
        .then(|| key_path.display().to_string());
    key.into_iter().chain(stored.traces.iter().cloned()).collect()
}

enum NoKey {
    Locked(String),
    Failed(StoreError),
}

fn unwrap(
    file: &KeyFile,
    header: &Header,
    generation: u64,
    seal: &dyn SealKeys,
) -> Result<marblerun_core::sealed::DataKey, NoKey> {
    let binding: KeyBinding = file.binding();
    let seal_key = seal.seal_key(binding).map_err(|error| match error {
        SealKeyError::NoSealKey { .. } => NoKey::Locked(error.to_string()),
        SealKeyError::Failed { .. } => NoKey::Failed(error.into()),
    })?;
    file.unwrap(&header.state_id, generation, &seal_key)
        .map_err(|error| match error {
            KeyFileError::Crypto(fault) => NoKey::Failed(StoreError::Sealing(fault.into())),
            other => NoKey::Locked(other.to_string()),
        })
}
