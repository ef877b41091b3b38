//! A store that forgets everything when it is dropped.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Draft, Replacement, Store, StoreError, Stored};

/// Keeps the sealed state in memory: for deployments without a place to keep it, and for tests.
#[derive(Default)]
pub struct MemoryStore {
    stored: Stored,
    draft: MemoryDraft,
}

/// Bytes that the store and whoever fills it share.
#[derive(Clone, Default)]
struct MemoryDraft(Arc<Mutex<Vec<u8>>>);

impl MemoryDraft {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Draft for MemoryDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn length(&self) -> u64 {
        self.bytes().len() as u64
    }
}

impl MemoryStore {
    /// A store that holds this already.
    pub fn holding(stored: Stored) -> Self {
        Self {
            stored,
            draft: MemoryDraft::default(),
        }
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        Ok(self.stored.clone())
    }

    fn append(&mut self, length: u64, frame: &[u8]) -> Result<(), StoreError> {
        let path = self.sealed_data_path();
        match &mut self.stored.sealed_data {
            Some(data) if data.len() as u64 == length => {
                data.extend_from_slice(frame);
                Ok(())
            }
            other => {
                let found = other.as_ref().map_or(0, Vec::len);
                let reason = format!("it has {found} bytes, expected {length}");
                Err(StoreError::NotAppendable { path, reason })
            }
        }
    }

    fn replace(&mut self, new: Replacement<'_>) -> Result<(), StoreError> {
        self.stored.sealed_data = Some(new.sealed_data.to_vec());
        self.stored.sealed_key = new.sealed_key.map(<[u8]>::to_vec);
        Ok(())
    }

    fn put_back(&mut self) -> Result<(), StoreError> {
        // Replacing does not fail here.
        Ok(())
    }

    fn begin_draft(&mut self) -> Result<Box<dyn Draft>, StoreError> {
        self.draft = MemoryDraft::default();
        Ok(Box::new(self.draft.clone()))
    }

    fn publish_draft(&mut self, _: Box<dyn Draft>) -> Result<(), StoreError> {
        let draft = std::mem::take(&mut self.draft);
        self.stored.sealed_data = Some(std::mem::take(&mut *draft.bytes()));
        Ok(())
    }

    fn discard_draft(&mut self) {
        self.draft = MemoryDraft::default();
    }

    fn replace_key(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.stored.sealed_key = Some(key.to_vec());
        Ok(())
    }

    fn cut(&mut self, length: u64) -> Result<String, StoreError> {
        if let (Some(data), Ok(length)) = (&mut self.stored.sealed_data, usize::try_from(length)) {
            data.truncate(length);
        }
        Ok("nowhere".to_owned())
    }

    fn retire(&mut self) -> Result<(), StoreError> {
        self.stored.sealed_data = None;
        Ok(())
    }

    fn sealed_data_path(&self) -> PathBuf {
        PathBuf::from("memory: sealed_data")
    }

    fn sealed_key_path(&self) -> PathBuf {
        PathBuf::from("memory: sealed_key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_given_and_refuses_other_lengths() {
        let mut store = MemoryStore::default();
        assert!(matches!(
            store.append(0, b"x"),
            Err(StoreError::NotAppendable { .. })
        ));
        let new = Replacement {
            sealed_data: b"data",
            sealed_key: Some(b"key"),
            keep_old: false,
        };
        store.replace(new).unwrap();
        store.append(4, b"+1").unwrap();
        assert!(matches!(
            store.append(4, b"+2"),
            Err(StoreError::NotAppendable { .. })
        ));
        assert_eq!(
            store.load().unwrap().sealed_data.as_deref(),
            Some(b"data+1".as_slice())
        );
        assert_eq!(
            store.load().unwrap().sealed_key.as_deref(),
            Some(b"key".as_slice())
        );
        store.cut(4).unwrap();
        store.replace_key(b"other").unwrap();
        assert_eq!(
            store.load().unwrap().sealed_data.as_deref(),
            Some(b"data".as_slice())
        );
        assert_eq!(
            store.load().unwrap().sealed_key.as_deref(),
            Some(b"other".as_slice())
        );
        store.retire().unwrap();
        assert!(store.load().unwrap().sealed_data.is_none());
    }
}
