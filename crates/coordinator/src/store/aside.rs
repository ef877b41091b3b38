//! What a directory keeps beside its state: states that were given up, and torn tails.

use marblerun_core::sealed::{MAX_FILE_BYTES, MAX_KEY_FILE_BYTES};

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
