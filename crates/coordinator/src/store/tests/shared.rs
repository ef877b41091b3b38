//! A store that several Coordinators share, as one in a cluster will be: every write names what its writer saw last, and
//! is refused when another was there meanwhile. It needs nothing of the trait but what is there.

use std::path::PathBuf;

use super::super::{Draft, Replacement, Store};
use super::*;

/// What all of them see: how often it was written, and what it holds.
#[derive(Default)]
struct Cluster {
    version: u64,
    stored: Stored,
}

/// The store of one Coordinator.
struct Shared {
    cluster: Arc<Mutex<Cluster>>,
    /// The version it saw last.
    seen: u64,
    draft: SharedDraft,
}

#[derive(Clone, Default)]
struct SharedDraft(Arc<Mutex<Vec<u8>>>);

impl Draft for SharedDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn length(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }
}

impl Shared {
    fn of(cluster: &Arc<Mutex<Cluster>>) -> Box<Self> {
        let cluster = Arc::clone(cluster);
        Box::new(Self {
            cluster,
            seen: 0,
            draft: SharedDraft::default(),
        })
    }

    /// Writes if nobody else has since this one looked.
    fn write(&mut self, change: impl FnOnce(&mut Stored)) -> Result<(), StoreError> {
        let mut cluster = self.cluster.lock().unwrap();
        if cluster.version != self.seen {
            let reason = format!("it is version {}, expected {}", cluster.version, self.seen);
            return Err(StoreError::NotAppendable {
                path: "shared".into(),
                reason,
            });
        }
        change(&mut cluster.stored);
        cluster.version += 1;
        self.seen = cluster.version;
        Ok(())
    }
}

impl Store for Shared {
    fn load(&mut self) -> Result<Stored, StoreError> {
        let cluster = self.cluster.lock().unwrap();
        self.seen = cluster.version;
        Ok(cluster.stored.clone())
    }

    fn append(&mut self, length: u64, frame: &[u8]) -> Result<(), StoreError> {
        self.write(|stored| {
            let data = stored.sealed_data.get_or_insert_default();
            assert_eq!(data.len() as u64, length);
            data.extend_from_slice(frame);
        })
    }

    fn replace(&mut self, new: Replacement<'_>) -> Result<(), StoreError> {
        self.write(|stored| {
            stored.sealed_data = Some(new.sealed_data.to_vec());
            stored.sealed_key = new.sealed_key.map(<[u8]>::to_vec);
        })
    }

    fn put_back(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn begin_draft(&mut self) -> Result<Box<dyn Draft>, StoreError> {
        self.draft = SharedDraft::default();
        Ok(Box::new(self.draft.clone()))
    }

    fn publish_draft(&mut self, _: Box<dyn Draft>) -> Result<(), StoreError> {
        let bytes = std::mem::take(&mut *self.draft.0.lock().unwrap());
        self.write(|stored| stored.sealed_data = Some(bytes))
    }

    fn discard_draft(&mut self) {}

    fn replace_key(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.write(|stored| stored.sealed_key = Some(key.to_vec()))
    }

    fn cut(&mut self, _: u64) -> Result<String, StoreError> {
        unreachable!("a write is whole or not there");
    }

    fn retire(&mut self) -> Result<(), StoreError> {
        self.write(|stored| stored.sealed_data = None)
    }

    fn sealed_data_path(&self) -> PathBuf {
        "shared: sealed_data".into()
    }

    fn sealed_key_path(&self) -> PathBuf {
        "shared: sealed_key".into()
    }
}

fn opened(cluster: &Arc<Mutex<Cluster>>) -> (SealedJournal, State) {
    let opened = open(
        Shared::of(cluster),
        Arc::new(Enclave(1)),
        Arc::new(AwsDice),
        false,
    )
    .unwrap();
    match opened.found {
        Found::State(state) => (opened.journal, *state),
        _ => panic!("it does not open"),
    }
}

fn with_state() -> (Arc<Mutex<Cluster>>, SealedJournal, State) {
    let cluster = Arc::default();
    let mut journal = open(
        Shared::of(&cluster),
        Arc::new(Enclave(1)),
        Arc::new(AwsDice),
        false,
    )
    .unwrap()
    .journal;
    let state = first_state(&mut journal);
    (cluster, journal, state)
}

#[track_caller]
fn refused(outcome: Result<(), StoreError>) {
    match outcome {
        Err(StoreError::NotAppendable { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_did_not_see_the_last_write_writes_nothing() {
    let (cluster, mut one, mut state) = with_state();
    let (mut other, mut stale) = opened(&cluster);
    commit(&mut one, &mut state, &[counted(1)]).unwrap();
    for _ in 0..2 {
        refused(commit(&mut other, &mut stale, &[counted(7)]));
        // Nor does it write the whole state anew in the place of what it has not seen.
        refused(other.restore(&stale));
    }
    assert!(same(&opened(&cluster).1, &state));

    // Having looked again, it goes on; now the first is the one that has not.
    let (mut other, mut newest) = opened(&cluster);
    commit(&mut other, &mut newest, &[counted(2)]).unwrap();
    refused(commit(&mut one, &mut state, &[counted(3)]));
    assert!(same(&opened(&cluster).1, &newest));
}

#[test]
fn a_checkpoint_is_published_unless_another_has_written() {
    let (cluster, one, mut state) = with_state();
    let mut one = one.with_log_limit(0).with_runner(AtOnce);
    let length = || cluster.lock().unwrap().stored.sealed_data.as_ref().unwrap().len();
    let whole = length();
    for count in 1..100 {
        commit(&mut one, &mut state, &[counted(count)]).unwrap();
        assert!(length() < 3 * whole);
    }
    assert!(same(&opened(&cluster).1, &state));
    drop(one);

    let (journal, mut state) = opened(&cluster);
    let later = Later::default();
    let mut one = journal.with_log_limit(0).with_runner(later.clone());
    // Until a checkpoint is due.
    for count in 100.. {
        commit(&mut one, &mut state, &[counted(count)]).unwrap();
        if later.work() {
            break;
        }
    }
    let (mut other, mut newest) = opened(&cluster);
    commit(&mut other, &mut newest, &[counted(1000)]).unwrap();
    one.settle(&state);
    assert!(same(&opened(&cluster).1, &newest), "the other's change is lost");
}
