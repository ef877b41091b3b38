//! The whole of it on a real directory: commit, crash, fail, lose, recover.

mod background;
mod commits;
mod crashes;
mod faults;
mod machine;
mod original;
mod power;
pub(super) mod recording;
mod shared;
mod start;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use marblerun_attestation::SimulationMode;
use marblerun_core::ambient::{Ambient, Dice as _, Timestamp};
use marblerun_core::change::Change;
use marblerun_core::manifest;
use marblerun_core::pki::{CryptoSuite, authority};
use marblerun_core::recovery::RecoveryPlan;
use marblerun_core::sealed::{DataKey, KeyBinding, KeyFile, SealedError, StateCipher};
use marblerun_core::secret::value::{SecretBytes, SecretValue};
use marblerun_core::state::State;

use self::recording::{Record, RecordingDisk};
use super::checkpoint::{Runner, Work};
use super::files::FileStore;
use super::journal::SealedJournal;
use super::memory::MemoryStore;
use super::open::{Found, Notice, Opened, open};
use super::{Store as _, StoreError, Stored};
use crate::config::Simulation;
use crate::dice::AwsDice;
use crate::seal::none::NoSealKeys;
use crate::seal::simulation::SimulationSealKeys;
use crate::seal::{SealKeyError, SealKeys};

const DATA: &str = "sealed_data";
const KEY: &str = "sealed_key";

fn clock() -> Timestamp {
    Timestamp::from_unix_millis(1_795_250_551_650)
}

/// An enclave whose seal keys are this byte.
#[derive(Clone, Copy)]
struct Enclave(u8);

impl SealKeys for Enclave {
    fn seal_key(&self, binding: KeyBinding) -> Result<SecretBytes, SealKeyError> {
        let unique = u8::from(binding == KeyBinding::Unique);
        Ok(SecretBytes::copy_from(&[self.0, unique].repeat(8)))
    }

    fn name(&self) -> &'static str {
        "a test"
    }
}

struct BrokenDevice;

impl SealKeys for BrokenDevice {
    fn seal_key(&self, _: KeyBinding) -> Result<SecretBytes, SealKeyError> {
        Err(SealKeyError::Failed {
            path: "/dev/broken".into(),
            reason: "a test".to_owned(),
        })
    }

    fn name(&self) -> &'static str {
        "a broken device"
    }
}

struct Place {
    directory: tempfile::TempDir,
    record: Record,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            record: Record::default(),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn try_open(&self, seal: impl SealKeys + 'static, fresh: bool) -> Result<Opened, StoreError> {
        let disk = RecordingDisk::open(self.path(), &self.record);
        open(
            Box::new(FileStore::on(Box::new(disk), clock)?),
            Arc::new(seal),
            Arc::new(AwsDice),
            fresh,
        )
    }

    fn open(&self, seal: impl SealKeys + 'static) -> Opened {
        self.try_open(seal, false).unwrap()
    }

    /// The state, which must open without recovery.
    fn state(&self) -> State {
        match self.open(Enclave(1)).found {
            Found::State(state) => *state,
            Found::Nothing => panic!("nothing"),
            Found::Locked { reason, .. } => panic!("locked: {reason}"),
        }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    /// A place with a state of three activations, and that state.
    fn with_state() -> (Self, State) {
        let place = Self::new();
        let mut opened = place.open(Enclave(1));
        let mut state = first_state(&mut opened.journal);
        for count in 1..=3 {
            commit(&mut opened.journal, &mut state, &[counted(count)]).unwrap();
        }
        place.record.take();
        (place, state)
    }
}

fn manifest_set(mode: &str) -> Change {
    let raw = format!(
        r#"{{"Packages": {{"p": {{"UniqueID": "{}"}}}}, "Marbles": {{"m": {{"Package": "p", "MaxActivations": 9}}}},
            "Config": {{"SealMode": "{mode}"}}}}"#,
        "00".repeat(32)
    );
    Change::ManifestSet {
        at: clock(),
        manifest: Arc::new(
            manifest::reopen(raw.into_bytes().into())
                .map_err(|e| e.to_string())
                .unwrap(),
        ),
        signature: b"signature".as_slice().into(),
    }
}

/// A value of `length` bytes for a secret.
fn written(name: &str, length: usize) -> Change {
    let value = SecretBytes::fill_with(length, |bytes| AwsDice.fill(bytes));
    Change::SecretsWritten {
        at: clock(),
        user: "u".into(),
        values: vec![(name.into(), Some(Arc::new(SecretValue::Plain(value))))],
    }
}

fn key_drawn(key_generation: u64) -> Change {
    let key = DataKey::generate(StateCipher::Aes128Gcm, &AwsDice);
    Change::DataKeyDrawn {
        key_generation,
        key,
        recovery: RecoveryPlan::none(),
    }
}

fn counted(count: u64) -> Change {
    Change::ActivationCounted {
        marble_type: "m".into(),
        count,
    }
}

/// A state without a manifest; each has a certificate authority of its own.
fn empty_state() -> State {
    begun(false)
}

fn begun(recovering: bool) -> State {
    let ambient = Ambient {
        now: clock(),
        dice: &AwsDice,
    };
    let authority = authority::create(CryptoSuite::P256Aes128, &[], None, &ambient).unwrap();
    State::begin(
        authority,
        SecretBytes::fill_with(32, |bytes| AwsDice.fill(bytes)),
        recovering,
    )
}

/// One of two states without a manifest, for tests that need many and have no time for new keys.
fn stock_state(which: usize) -> State {
    static STOCK: OnceLock<[State; 2]> = OnceLock::new();
    STOCK.get_or_init(|| [empty_state(), empty_state()])[which % 2].clone()
}

/// Does the work of checkpoints when it is told to, on the thread of the test.
#[derive(Clone, Default)]
struct Later(Arc<Mutex<VecDeque<Work>>>);

impl Later {
    /// Does what waits. `false`: nothing waited.
    fn work(&self) -> bool {
        let work = self.0.lock().unwrap().pop_front();
        work.map(|work| work()).is_some()
    }
}

impl Runner for Later {
    fn run(&mut self, work: Work) -> std::io::Result<()> {
        self.0.lock().unwrap().push_back(work);
        Ok(())
    }

    fn join(&mut self) {
        self.0.lock().unwrap().clear();
    }
}

/// Does the work of checkpoints at once.
struct AtOnce;

impl Runner for AtOnce {
    fn run(&mut self, work: Work) -> std::io::Result<()> {
        work();
        Ok(())
    }

    fn join(&mut self) {}
}

fn first_state(journal: &mut SealedJournal) -> State {
    let mut state = empty_state();
    commit(journal, &mut state, &[manifest_set("ProductKey"), key_drawn(1)]).unwrap();
    state
}

/// What the keeper does: the state changes only if the commit succeeds. A checkpoint that is due begins, and is
/// published if it is finished.
fn commit(journal: &mut SealedJournal, state: &mut State, changes: &[Change]) -> Result<(), StoreError> {
    let mut pending = state.clone();
    changes.iter().for_each(|change| pending.apply(change));
    journal.commit(changes, &pending)?;
    *state = pending;
    journal.settle(state);
    journal.settle(state);
    Ok(())
}

fn same(one: &State, other: &State) -> bool {
    one.position() == other.position()
        && one.activations("m") == other.activations("m")
        && one.authority().root == other.authority().root
        && one.sealing().map(|sealing| sealing.key_generation)
            == other.sealing().map(|sealing| sealing.key_generation)
}

fn data_key(state: &State) -> DataKey {
    state.sealing().unwrap().key.clone()
}

fn locked_reason(opened: &Opened) -> &str {
    match &opened.found {
        Found::Locked { reason, .. } => reason,
        Found::Nothing => panic!("nothing"),
        Found::State(_) => panic!("it opened"),
    }
}
