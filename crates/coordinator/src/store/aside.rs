//! What a directory keeps beside its state: states that were given up, and torn tails.

use std::io;

use marblerun_core::original::OriginalHeader;
use marblerun_core::recovery::RecoveryScheme;
use marblerun_core::sealed::{Header, MAX_FILE_BYTES, MAX_KEY_FILE_BYTES};

use super::StoreError;
use super::files::{DATA, FileStore, KEY, SUPERSEDED};

impl FileStore {
    /// A prefix with the time that no file has yet: two writes within a millisecond get different names.
    pub(super) fn timed(&self, prefix: &str) -> Result<String, StoreError> {
        let taken = self.list()?;
        let time: String = (self.clock)()
            .to_string()
            .chars()
            .filter(|c| !matches!(c, '-' | ':'))
            .collect();
        let mut name = format!("{prefix}{time}");
        for count in 1_u32.. {
            if !taken.iter().any(|other| other.starts_with(&name)) {
                break;
            }
            name = format!("{prefix}{time}-{count}");
        }
        Ok(name)
    }

    /// Copies the old files aside. They are copied, not renamed, so that at no moment there is no state. What an
    /// attempt that failed or was cut short has put aside stays as it is: by now the key file may be the new one.
    pub(super) fn keep_old(&self) -> Result<Option<String>, StoreError> {
        let read = |name: &str| {
            self.disk
                .read(name, MAX_FILE_BYTES)
                .map_err(self.failed(name, "read"))
        };
        let Some(data) = read(DATA)? else {
            return Ok(None);
        };
        for name in self.list()? {
            if let Some(prefix) = name.strip_suffix(&format!("-{DATA}"))
                && prefix.starts_with(SUPERSEDED)
                && read(&name)?.as_ref() == Some(&data)
            {
                return Ok(Some(prefix.to_owned()));
            }
        }
        let prefix = self.timed(SUPERSEDED)?;
        // The key first: once the data is there, both are.
        // A key file that is too large is none of ours.
        if let Ok(Some(key)) = self.disk.read(KEY, MAX_KEY_FILE_BYTES as u64) {
            self.write_whole(&format!("{prefix}-{KEY}"), &key)?;
        }
        self.write_whole(&format!("{prefix}-{DATA}"), &data)?;
        Ok(Some(prefix))
    }

    /// Removes states that were given up, all but the latest (whose prefix is given) and the first that the holders of
    /// recovery keys could still open, of ours and of the original's. In recovery anybody may give a state up for one
    /// of his own, and after the next start give up that one: doing it twice must not remove the state that mattered.
    pub(super) fn tidy_superseded(&self, latest: &str) {
        let kept = match self.first_recoverable() {
            Ok(first) => [Some(latest.to_owned())]
                .into_iter()
                .chain(first)
                .flatten()
                .collect::<Vec<_>>(),
            Err(error) => {
                tracing::warn!(%error, "states that were given up stay, as one of them cannot be read");
                return;
            }
        };
        if let Some(first) = kept.iter().skip(1).find(|first| *first != latest) {
            tracing::warn!(
                first = %self.disk.path(&format!("{first}-{DATA}")).display(),
                "a state that was given up earlier is kept beside the latest, and stays the one that is kept: move it \
                 away when nobody needs it any more"
            );
        }
        self.tidy(SUPERSEDED, |_, name| {
            kept.iter().any(|prefix| {
                [DATA, KEY]
                    .map(|end| format!("{prefix}-{end}"))
                    .contains(&name.to_owned())
            })
        });
    }

    /// The prefixes of the oldest states aside that recovery secrets open: of ours, and of the original's.
    fn first_recoverable(&self) -> io::Result<[Option<String>; 2]> {
        let mut prefixes: Vec<String> = self
            .disk
            .list()?
            .iter()
            .filter_map(|name| name.strip_suffix(DATA)?.strip_suffix('-'))
            .filter(|prefix| prefix.starts_with(SUPERSEDED))
            .map(str::to_owned)
            .collect();
        // The time in the name is of fixed length, and its order is that of the digits.
        prefixes.sort_unstable();
        let [mut ours, mut original] = [None, None];
        for prefix in prefixes {
            let Some(data) = self.disk.read(&format!("{prefix}-{DATA}"), MAX_FILE_BYTES)? else {
                continue;
            };
            let first = match Header::parse(&data) {
                Ok((header, _)) if header.recovery.scheme() != RecoveryScheme::None => &mut ours,
                Err(_) if OriginalHeader::parse(&data).is_some() => &mut original,
                _ => continue,
            };
            first.get_or_insert(prefix);
        }
        Ok([ours, original])
    }

    /// Removes files with a prefix, all but those for which `keep` is true. It only saves space: a failure is
    /// not one of the write that has just succeeded.
    pub(super) fn tidy(&self, prefix: &str, keep: impl Fn(usize, &str) -> bool) {
        let names: Vec<String> = self
            .list()
            .unwrap_or_default()
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect();
        let count = names.len();
        for (index, name) in names.iter().enumerate() {
            if !keep(count - index, name)
                && let Err(error) = self.disk.remove(name)
            {
                tracing::warn!(file = %self.disk.path(name).display(), %error, "an old file stays");
            }
        }
    }
}
