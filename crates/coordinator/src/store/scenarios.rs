//! The whole of it on a real directory: commit, crash, fail, lose, recover.

use std::path::Path;
use std::sync::Arc;

use marblerun_attestation::SimulationMode;
use marblerun_core::ambient::{Ambient, Dice as _, Timestamp};
use marblerun_core::change::Change;
use marblerun_core::manifest;
use marblerun_core::pki::{CryptoSuite, authority};
use marblerun_core::recovery::RecoveryPlan;
use marblerun_core::sealed::{DataKey, KeyBinding, KeyFile, SealedError, StateCipher};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::state::State;

use super::files::FileStore;
use super::journal::SealedJournal;
use super::open::{Found, Notice, Opened, open};
use super::recording::{Failure, Record, RecordingDisk};
use super::{Store as _, StoreError};
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
            commit(&mut opened.journal, &mut state, vec![counted(count)]).unwrap();
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

fn empty_state() -> State {
    let ambient = Ambient {
        now: clock(),
        dice: &AwsDice,
    };
    let authority = authority::create(CryptoSuite::P256Aes128, &[], None, &ambient).unwrap();
    State::begin(
        authority,
        SecretBytes::fill_with(32, |bytes| AwsDice.fill(bytes)),
        false,
    )
}

fn first_state(journal: &mut SealedJournal) -> State {
    let mut state = empty_state();
    commit(
        journal,
        &mut state,
        vec![manifest_set("ProductKey"), key_drawn(1)],
    )
    .unwrap();
    state
}

/// What the keeper does: the state changes only if the commit succeeds.
fn commit(journal: &mut SealedJournal, state: &mut State, changes: Vec<Change>) -> Result<(), StoreError> {
    let mut pending = state.clone();
    changes.iter().for_each(|change| pending.apply(change));
    journal.commit(&changes, &pending)?;
    *state = pending;
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

#[test]
fn nothing_is_written_before_a_manifest_is_set() {
    let place = Place::new();
    let mut opened = place.open(Enclave(1));
    assert!(matches!(opened.found, Found::Nothing));
    assert!(opened.notices.is_empty());
    opened.journal.commit(&[], &empty_state()).unwrap();
    opened.journal.restore(&empty_state()).unwrap();
    assert_eq!(place.names(), ["lock"]);
    drop(opened);
    assert!(matches!(place.open(Enclave(1)).found, Found::Nothing));
}

#[test]
fn a_committed_state_opens_again_and_goes_on() {
    let (place, mut state) = Place::with_state();
    assert_eq!(place.names(), ["lock", DATA, KEY]);
    for count in 4..=6 {
        let mut opened = place.open(Enclave(1));
        assert!(matches!(&opened.found, Found::State(found) if same(found, &state)));
        assert!(opened.notices.is_empty());
        commit(&mut opened.journal, &mut state, vec![counted(count)]).unwrap();
    }
    assert!(same(&place.state(), &state));
    assert_eq!(state.activations("m"), 6);
}

#[test]
fn a_commit_is_one_append_and_one_sync() {
    let (place, mut state) = Place::with_state();
    let mut opened = place.open(Enclave(1));
    let before = place.read(DATA);
    commit(&mut opened.journal, &mut state, vec![counted(4), counted(5)]).unwrap();
    assert_eq!(
        place.record.take(),
        ["write sealed_data", "sync data sealed_data"]
    );
    assert!(place.read(DATA).starts_with(&before));
}

#[test]
fn losing_the_key_file_leads_to_recovery_and_never_to_loss() {
    let (place, state) = Place::with_state();
    place.remove(KEY);
    let data = place.read(DATA);
    let mut opened = place.open(Enclave(1));
    assert!(locked_reason(&opened).contains(KEY));

    let wrong = DataKey::generate(StateCipher::Aes128Gcm, &AwsDice);
    let refused = opened.journal.open_with(&wrong).err().unwrap();
    assert!(matches!(
        refused,
        StoreError::Unreadable {
            problem: SealedError::WrongKey,
            ..
        }
    ));
    assert!(place.read(DATA) == data && place.names() == ["lock", DATA]);

    let found = opened.journal.open_with(&data_key(&state)).unwrap();
    assert_eq!(place.names(), ["lock", DATA]);
    let (mut recovered, kept) = opened.journal.adopt(found).unwrap();
    assert_eq!(kept, None);
    assert!(same(&recovered, &state));
    commit(&mut opened.journal, &mut recovered, vec![counted(4)]).unwrap();
    drop(opened);
    // No further recovery is needed.
    assert!(same(&place.state(), &recovered));
}

#[test]
fn a_copy_of_the_data_alone_leads_to_recovery_in_an_empty_place() {
    let (place, state) = Place::with_state();
    let elsewhere = Place::new();
    elsewhere.write(DATA, &place.read(DATA));
    let simulation = SimulationSealKeys::new(
        SimulationMode::by_explicit_configuration(),
        elsewhere.path(),
        Arc::new(AwsDice),
    );
    let mut opened = elsewhere.open(simulation.unwrap());
    assert!(locked_reason(&opened).contains("there is no"));
    let found = opened.journal.open_with(&data_key(&state)).unwrap();
    assert!(same(&opened.journal.adopt(found).unwrap().0, &state));
    assert_eq!(elsewhere.names(), ["lock", DATA, KEY, "simulation_seal_key"]);
}

#[test]
fn in_simulation_a_fresh_start_is_fresh_with_and_without_the_simulated_key() {
    let place = Place::new();
    let simulation = || {
        SimulationSealKeys::new(
            SimulationMode::by_explicit_configuration(),
            place.path(),
            Arc::new(AwsDice),
        )
        .unwrap()
    };
    simulation().seal_key(KeyBinding::Product).unwrap();
    let mut opened = place.open(simulation());
    assert!(matches!(opened.found, Found::Nothing));
    first_state(&mut opened.journal);
    drop(opened);
    assert!(matches!(place.open(simulation()).found, Found::State(_)));
    place.remove("simulation_seal_key");
    assert!(locked_reason(&place.open(simulation())).contains("does not open it"));
}

#[test]
fn signs_of_a_lost_state_are_not_taken_for_a_new_deployment() {
    for name in [
        KEY,
        "sealed_data.new",
        "superseded-x-sealed_data",
        "torn-x",
        "something else",
    ] {
        let place = Place::new();
        place.write(name, b"x");
        let error = place.try_open(Enclave(1), false).err().unwrap();
        assert!(
            matches!(&error, StoreError::StateMissing { .. }),
            "{name}: {error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(name) && text.contains("--fresh") && text.contains(DATA),
            "{text}"
        );

        let mut opened = place.try_open(Enclave(1), true).unwrap();
        assert!(matches!(opened.found, Found::Nothing));
        assert!(matches!(&opened.notices[..], [Notice::StartedFresh { .. }]));
        assert!(opened.notices[0].to_string().contains(name));
        let state = first_state(&mut opened.journal);
        drop(opened);
        assert!(same(&place.state(), &state));
    }
}

#[test]
fn a_foreign_file_is_refused_by_name_and_kept_aside_with_fresh() {
    for foreign in [&b""[..], b"x", b"something else altogether"] {
        let place = Place::new();
        place.write(DATA, foreign);
        let error = place.try_open(Enclave(1), false).err().unwrap();
        assert!(matches!(
            &error,
            StoreError::Unreadable {
                problem: SealedError::NotOurs { .. },
                ..
            }
        ));
        assert!(
            error
                .to_string()
                .contains(&place.path().join(DATA).display().to_string()),
            "{error}"
        );

        let mut opened = place.try_open(Enclave(1), true).unwrap();
        assert!(matches!(opened.found, Found::Nothing));
        assert_eq!(place.read(DATA), foreign);
        let state = first_state(&mut opened.journal);
        drop(opened);
        assert!(same(&place.state(), &state));
        assert_eq!(place.read("superseded-20261121T084231.650Z-sealed_data"), foreign);
    }
}

#[test]
fn fresh_does_not_give_up_a_state_that_is_there() {
    let (place, state) = Place::with_state();
    let opened = place.try_open(Enclave(1), true).unwrap();
    assert!(matches!(&opened.found, Found::State(found) if same(found, &state)));
    assert!(matches!(&opened.notices[..], [Notice::FreshIgnored { .. }]));
    drop(opened);
    // Nor one that needs recovery, nor one that is damaged.
    place.remove(KEY);
    assert!(matches!(
        place.try_open(Enclave(1), true).unwrap().found,
        Found::Locked { .. }
    ));
    let mut data = place.read(DATA);
    data[20] ^= 1;
    place.write(DATA, &data);
    assert!(matches!(
        place.try_open(Enclave(1), true),
        Err(StoreError::Unreadable { .. })
    ));
}

#[test]
fn damage_is_refused_with_file_and_offset() {
    let (place, _) = Place::with_state();
    let data = place.read(DATA);
    // In the header, in the checkpoint, in a frame that others follow.
    for (at, offset) in [
        (20, "offset 0"),
        (200, "offset 140"),
        (1000, "offset 140"),
        (data.len() - 300, "offset "),
    ] {
        let mut damaged = data.clone();
        damaged[at] ^= 1;
        place.write(DATA, &damaged);
        let error = place.try_open(Enclave(1), false).err().unwrap();
        assert!(
            matches!(
                &error,
                StoreError::Unreadable {
                    problem: SealedError::Corrupt { .. },
                    ..
                }
            ),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(DATA) && text.contains(offset), "{text}");
        // And left as it is.
        assert_eq!(place.read(DATA), damaged);
    }
}

#[test]
fn a_torn_tail_is_cut_kept_and_reported_at_every_length() {
    let (place, mut state) = Place::with_state();
    let (data, key) = (place.read(DATA), place.read(KEY));
    let mut opened = place.open(Enclave(1));
    commit(&mut opened.journal, &mut state, vec![counted(4)]).unwrap();
    drop(opened);
    let longer = place.read(DATA);
    for length in data.len() + 1..longer.len() {
        let place = Place::new();
        place.write(DATA, &longer[..length]);
        place.write(KEY, &key);
        let mut opened = place.open(Enclave(1));
        let Found::State(mut found) = opened.found else {
            panic!("{length}")
        };
        assert_eq!(found.activations("m"), 3);
        let [Notice::TornTailCut { tail, .. }] = &opened.notices[..] else {
            panic!("{length}")
        };
        assert_eq!(
            (tail.offset, tail.length),
            (data.len() as u64, (length - data.len()) as u64)
        );
        assert!(
            opened.notices[0]
                .to_string()
                .contains(&format!("offset {}", data.len()))
        );
        assert_eq!(place.read(DATA), data);
        assert_eq!(
            place.read("torn-20261121T084231.650Z"),
            longer[data.len()..length]
        );
        commit(&mut opened.journal, &mut found, vec![counted(4)]).unwrap();
        drop(opened.journal);
        assert!(same(&place.state(), &found));
    }
}

#[test]
fn a_torn_tail_is_cut_on_recovery_too() {
    let (place, state) = Place::with_state();
    place.remove(KEY);
    place.write(DATA, &[&place.read(DATA)[..], b"torn"].concat());
    let mut opened = place.open(Enclave(1));
    let found = opened.journal.open_with(&data_key(&state)).unwrap();
    let (recovered, kept) = opened.journal.adopt(found).unwrap();
    assert!(same(&recovered, &state));
    assert!(kept.is_some_and(|kept| kept.ends_with("torn-20261121T084231.650Z")));
    drop(opened);
    assert!(same(&place.state(), &state));
}

#[test]
fn a_state_that_is_given_up_is_kept_aside() {
    let (place, old) = Place::with_state();
    let (data, key) = (place.read(DATA), place.read(KEY));
    let mut opened = place.open(Enclave(2));
    assert!(locked_reason(&opened).contains("does not open it"));
    assert!(place.read(DATA) == data && place.read(KEY) == key);
    let new = first_state(&mut opened.journal);
    drop(opened);
    assert_eq!(place.read("superseded-20261121T084231.650Z-sealed_data"), data);
    assert_eq!(place.read("superseded-20261121T084231.650Z-sealed_key"), key);
    match place.open(Enclave(2)).found {
        Found::State(found) => assert!(same(&found, &new) && !same(&found, &old)),
        _ => panic!("the new state does not open"),
    }
}

#[test]
fn the_key_file_of_another_state_does_not_open() {
    let (place, _) = Place::with_state();
    let (other, _) = Place::with_state();
    place.write(KEY, &other.read(KEY));
    assert!(locked_reason(&place.open(Enclave(1))).contains("belongs to another state"));
}

#[test]
fn a_damaged_key_file_is_a_lost_one_and_a_newer_one_is_refused() {
    let (place, _) = Place::with_state();
    let key = place.read(KEY);
    for damaged in [&b""[..], b"x", &key[..50], &[0; 4096]] {
        place.write(KEY, damaged);
        assert!(locked_reason(&place.open(Enclave(1))).contains(KEY));
    }
    // The seal mode byte, with the checksum made right: what a later version may write.
    let mut newer = key[..key.len() - 32].to_vec();
    newer[46] = 9;
    let checksum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &newer);
    newer.extend_from_slice(checksum.as_ref());
    place.write(KEY, &newer);
    let error = place.try_open(Enclave(1), false).err().unwrap();
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[test]
fn a_failing_device_is_an_error_and_not_a_reason_for_recovery() {
    let (place, _) = Place::with_state();
    assert!(matches!(
        place.try_open(BrokenDevice, false),
        Err(StoreError::SealKey(_))
    ));
    let place = Place::new();
    let mut opened = place.open(BrokenDevice);
    let mut state = empty_state();
    let changes = vec![manifest_set("ProductKey"), key_drawn(1)];
    assert!(matches!(
        commit(&mut opened.journal, &mut state, changes),
        Err(StoreError::SealKey(_))
    ));
    assert_eq!(place.names(), ["lock"]);
}

#[test]
fn without_seal_keys_each_start_needs_recovery() {
    let place = Place::new();
    let mut opened = place.open(NoSealKeys);
    let mut state = first_state(&mut opened.journal);
    assert_eq!(place.names(), ["lock", DATA]);
    for count in 1..3 {
        commit(&mut opened.journal, &mut state, vec![counted(count)]).unwrap();
        drop(opened);
        opened = place.open(NoSealKeys);
        assert!(locked_reason(&opened).contains("there is no"));
        let found = opened.journal.open_with(&data_key(&state)).unwrap();
        assert!(same(&opened.journal.adopt(found).unwrap().0, &state));
        assert_eq!(place.names(), ["lock", DATA]);
    }
}

#[test]
fn a_new_data_key_is_a_new_file_and_the_old_copy_still_opens() {
    let (place, mut state) = Place::with_state();
    let old_data = place.read(DATA);
    let mut opened = place.open(Enclave(1));
    let old = state.clone();
    commit(&mut opened.journal, &mut state, vec![key_drawn(2)]).unwrap();
    commit(&mut opened.journal, &mut state, vec![counted(4)]).unwrap();
    drop(opened);
    let key_file = KeyFile::parse(&place.read(KEY)).unwrap();
    assert!(key_file.key_generations().eq([1, 2]));
    assert!(same(&place.state(), &state));
    let new_data = place.read(DATA);
    place.write(DATA, &old_data);
    assert!(same(&place.state(), &old));
    // The next key drops the oldest, also after a restart.
    place.write(DATA, &new_data);
    let mut opened = place.open(Enclave(1));
    commit(&mut opened.journal, &mut state, vec![key_drawn(3)]).unwrap();
    drop(opened);
    assert!(
        KeyFile::parse(&place.read(KEY))
            .unwrap()
            .key_generations()
            .eq([2, 3])
    );
    place.write(DATA, &new_data);
    assert_eq!(place.state().activations("m"), 4);
    place.write(DATA, &old_data);
    assert!(locked_reason(&place.open(Enclave(1))).contains("no key of generation 1"));
}

#[test]
fn a_seal_mode_decides_what_the_key_is_wrapped_with() {
    let (place, state) = Place::with_state();
    assert_eq!(
        KeyFile::parse(&place.read(KEY)).unwrap().binding(),
        KeyBinding::Product
    );
    let mut opened = place.open(Enclave(1));
    // As an update of the manifest would leave it: another mode, the same data key.
    let mut updated = state.clone();
    updated.apply(&manifest_set("UniqueKey"));
    let sealing = state.sealing().unwrap();
    updated.apply(&Change::DataKeyDrawn {
        key_generation: sealing.key_generation,
        key: sealing.key.clone(),
        recovery: sealing.recovery.clone(),
    });
    opened.journal.commit(&[counted(4)], &updated).unwrap();
    drop(opened);
    assert_eq!(
        KeyFile::parse(&place.read(KEY)).unwrap().binding(),
        KeyBinding::Unique
    );
    assert_eq!(place.state().activations("m"), 4);
}

#[test]
fn disabled_sealing_writes_nothing_and_moves_an_old_state_aside() {
    let place = Place::new();
    let mut opened = place.open(Enclave(1));
    let mut state = empty_state();
    commit(
        &mut opened.journal,
        &mut state,
        vec![manifest_set("Disabled"), key_drawn(1)],
    )
    .unwrap();
    commit(&mut opened.journal, &mut state, vec![counted(1)]).unwrap();
    assert_eq!(place.names(), ["lock"]);

    let (place, mut state) = Place::with_state();
    let data = place.read(DATA);
    let mut opened = place.open(Enclave(1));
    commit(
        &mut opened.journal,
        &mut state,
        vec![manifest_set("Disabled"), key_drawn(1)],
    )
    .unwrap();
    commit(&mut opened.journal, &mut state, vec![counted(1)]).unwrap();
    assert_eq!(
        place.names(),
        ["lock", KEY, "superseded-20261121T084231.650Z-sealed_data"]
    );
    assert_eq!(place.read("superseded-20261121T084231.650Z-sealed_data"), data);
    drop(opened);
    assert!(matches!(
        place.try_open(Enclave(1), false),
        Err(StoreError::StateMissing { .. })
    ));
}

#[test]
fn a_grown_log_becomes_a_checkpoint() {
    let (place, mut state) = Place::with_state();
    let opened = place.open(Enclave(1));
    let mut journal = opened.journal.with_log_limit(0);
    let checkpoint = place.read(DATA).len();
    let mut rewrites = 0;
    for count in 4..200 {
        place.record.take();
        commit(&mut journal, &mut state, vec![counted(count)]).unwrap();
        if place
            .record
            .take()
            .iter()
            .any(|operation| operation.starts_with("rename"))
        {
            rewrites += 1;
        }
        assert!(place.read(DATA).len() < 3 * checkpoint);
    }
    assert!((2..40).contains(&rewrites), "{rewrites}");
    drop(journal);
    assert!(same(&place.state(), &state));
}

/// The kinds of commit there are, by name: how to get a journal ready for it, and its changes.
fn kinds() -> Vec<(&'static str, Vec<Change>)> {
    vec![
        ("append", vec![counted(4)]),
        ("new key", vec![key_drawn(2), counted(4)]),
        ("checkpoint", vec![counted(4)]),
        ("first", vec![manifest_set("ProductKey"), key_drawn(1)]),
        ("given up", vec![manifest_set("ProductKey"), key_drawn(1)]),
    ]
}

/// Opens a place for a kind of commit: the journal and the published state.
fn ready(kind: &str) -> (Place, SealedJournal, State) {
    let (place, state) = match kind {
        "first" => (Place::new(), empty_state()),
        "given up" => (Place::with_state().0, empty_state()),
        _ => Place::with_state(),
    };
    let opened = place.open(Enclave(if kind == "given up" { 2 } else { 1 }));
    let limit = if kind == "checkpoint" { 0 } else { 1 << 20 };
    let mut journal = opened.journal.with_log_limit(limit);
    let mut state = state;
    if kind == "checkpoint" {
        // Up to the commit before the one that makes a checkpoint. Every frame is as long as the one here.
        let before = place.read(DATA).len();
        commit(&mut journal, &mut state, vec![counted(3)]).unwrap();
        let frame = place.read(DATA).len() - before;
        let limit = 2 * checkpoint_length(&place);
        while place.read(DATA).len() + frame <= limit {
            commit(&mut journal, &mut state, vec![counted(3)]).unwrap();
        }
    }
    place.record.take();
    (place, journal, state)
}

/// Length of header and checkpoint of the file in a place.
fn checkpoint_length(place: &Place) -> usize {
    let Opened {
        found: Found::State(state),
        ..
    } = open(
        Box::new(super::memory::MemoryStore::holding(super::Stored {
            sealed_data: Some(place.read(DATA)),
            sealed_key: Some(place.read(KEY)),
            traces: Vec::new(),
        })),
        Arc::new(Enclave(1)),
        Arc::new(AwsDice),
        false,
    )
    .unwrap()
    else {
        panic!("it does not open")
    };
    let opened = marblerun_core::sealed::open_state(&place.read(DATA), &data_key(&state)).unwrap();
    usize::try_from(opened.end.checkpoint_end).unwrap()
}

#[test]
fn a_kill_anywhere_in_any_commit_loses_nothing_that_was_acknowledged() {
    for (kind, changes) in kinds() {
        for count in 0.. {
            let (place, mut journal, mut state) = ready(kind);
            let old = state.clone();
            let mut new = state.clone();
            changes.iter().for_each(|change| new.apply(change));
            place.record.fail_after(count, Failure::Kill);
            let acknowledged = commit(&mut journal, &mut state, changes.clone()).is_ok();
            drop(journal);
            let operations = place.record.take().len();

            let survivor = Place {
                directory: place.directory,
                record: Record::default(),
            };
            let enclave = Enclave(if kind == "given up" { 2 } else { 1 });
            match survivor.try_open(enclave, false).map(|opened| opened.found) {
                Ok(Found::State(found)) if same(&found, &new) => {}
                Ok(Found::State(found)) if same(&found, &old) => assert!(!acknowledged, "{kind} {count}"),
                // Nothing was there before, and nothing was acknowledged.
                Ok(Found::Nothing) | Err(StoreError::StateMissing { .. }) if kind == "first" => {
                    assert!(!acknowledged, "{kind} {count}");
                }
                // The old state still needs its recovery.
                Ok(Found::Locked { .. }) if kind == "given up" => assert!(!acknowledged, "{kind} {count}"),
                Ok(Found::State(_)) => panic!("{kind}, killed after {count}: another state"),
                Ok(Found::Nothing) => panic!("{kind}, killed after {count}: a fresh start"),
                Ok(Found::Locked { reason, .. }) => panic!("{kind}, killed after {count}: {reason}"),
                Err(error) => panic!("{kind}, killed after {count}: {error}"),
            }
            if operations <= count {
                assert!(acknowledged && count >= 2, "{kind}");
                break;
            }
        }
    }
}

#[test]
fn after_any_failure_the_published_state_is_written_anew_and_it_goes_on() {
    for (kind, changes) in kinds() {
        for with_restore in [true, false] {
            for count in 0.. {
                let (place, mut journal, mut state) = ready(kind);
                place.record.fail_after(count, Failure::Once);
                if commit(&mut journal, &mut state, changes.clone()).is_err() {
                    if with_restore {
                        journal.restore(&state).unwrap();
                    }
                    commit(&mut journal, &mut state, changes.clone()).unwrap();
                }
                let failed = place.record.take();
                place.record.succeed();
                commit(&mut journal, &mut state, vec![counted(7)]).unwrap();
                drop(journal);
                let enclave = Enclave(if kind == "given up" { 2 } else { 1 });
                let found = match place.open(enclave).found {
                    Found::State(found) => found,
                    _ => panic!("{kind} {count}"),
                };
                assert!(same(&found, &state), "{kind} {count}");
                if kind == "given up" {
                    // Whatever failed, what is aside is the state that was given up, and not an attempt.
                    let aside = "superseded-20261121T084231.650Z";
                    let names = place.names();
                    let data = names
                        .iter()
                        .find(|name| name.starts_with(aside) && name.ends_with(DATA))
                        .unwrap();
                    let key = names
                        .iter()
                        .find(|name| name.starts_with(aside) && name.ends_with(KEY))
                        .unwrap();
                    let old = Place::new();
                    old.write(DATA, &place.read(data));
                    old.write(KEY, &place.read(key));
                    assert_eq!(old.state().activations("m"), 3, "{count}");
                }
                if failed.len() <= count {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_restored_state_does_not_hold_what_failed() {
    let (place, mut journal, mut state) = ready("append");
    // The sync fails, after all was written: the frame is whole in the file.
    place.record.fail_after(1, Failure::Once);
    assert!(commit(&mut journal, &mut state, vec![counted(4)]).is_err());
    journal.restore(&state).unwrap();
    drop(journal);
    assert!(same(&place.state(), &state));
    assert_eq!(state.activations("m"), 3);
}

#[test]
fn a_directory_in_use_is_refused() {
    let (place, _) = Place::with_state();
    let _running = place.open(Enclave(1));
    assert!(matches!(
        place.try_open(Enclave(1), false),
        Err(StoreError::InUse { .. })
    ));
}

#[test]
fn the_store_is_behind_a_trait() {
    let mut store = super::memory::MemoryStore::default();
    assert!(store.load().unwrap().sealed_data.is_none());
    let opened = open(Box::new(store), Arc::new(Enclave(1)), Arc::new(AwsDice), false).unwrap();
    let mut journal = opened.journal;
    let mut state = first_state(&mut journal);
    commit(&mut journal, &mut state, vec![counted(1)]).unwrap();
    assert!(same(&journal.open_with(&data_key(&state)).unwrap().state, &state));
}
