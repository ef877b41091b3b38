//! Commits of every kind, and what they leave in the directory.

use super::*;

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
        commit(&mut opened.journal, &mut state, &[counted(count)]).unwrap();
    }
    assert!(same(&place.state(), &state));
    assert_eq!(state.activations("m"), 6);
}

#[test]
fn a_commit_is_one_append_and_one_sync() {
    let (place, mut state) = Place::with_state();
    let mut opened = place.open(Enclave(1));
    let before = place.read(DATA);
    place.record.take();
    commit(&mut opened.journal, &mut state, &[counted(4), counted(5)]).unwrap();
    assert_eq!(
        place.record.take(),
        ["write sealed_data", "sync data sealed_data"]
    );
    assert!(place.read(DATA).starts_with(&before));
}

#[test]
fn what_would_not_open_again_is_not_written() {
    let (place, state) = Place::with_state();
    let size = place.read(DATA).len() as u64;
    // A log that has grown too long: refused, and what was there is written anew without it.
    let mut opened = place.open(Enclave(1));
    opened.journal = opened.journal.with_file_limit(size);
    let mut next = state.clone();
    next.apply(&counted(4));
    let refused = opened.journal.commit(&[counted(4)], &next).unwrap_err();
    assert!(
        matches!(refused, StoreError::TooLarge { limit, .. } if limit == size),
        "{refused}"
    );
    opened.journal.restore(&state).unwrap();
    drop(opened);
    assert!(same(&place.state(), &state));

    // A state that is too large: refused before anything is touched.
    let before = place.read(DATA);
    let mut opened = place.open(Enclave(1));
    opened.journal = opened.journal.with_file_limit(before.len() as u64 / 2);
    let refused = opened.journal.restore(&state).unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    drop(opened);
    assert_eq!(place.read(DATA), before);
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
fn a_new_data_key_is_a_new_file_and_the_old_copy_still_opens() {
    let (place, mut state) = Place::with_state();
    let old_data = place.read(DATA);
    let mut opened = place.open(Enclave(1));
    let old = state.clone();
    commit(&mut opened.journal, &mut state, &[key_drawn(2)]).unwrap();
    commit(&mut opened.journal, &mut state, &[counted(4)]).unwrap();
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
    commit(&mut opened.journal, &mut state, &[key_drawn(3)]).unwrap();
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
        &[manifest_set("Disabled"), key_drawn(1)],
    )
    .unwrap();
    commit(&mut opened.journal, &mut state, &[counted(1)]).unwrap();
    assert_eq!(place.names(), ["lock"]);

    let (place, mut state) = Place::with_state();
    let data = place.read(DATA);
    let mut opened = place.open(Enclave(1));
    commit(
        &mut opened.journal,
        &mut state,
        &[manifest_set("Disabled"), key_drawn(1)],
    )
    .unwrap();
    commit(&mut opened.journal, &mut state, &[counted(1)]).unwrap();
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
    let mut journal = opened.journal.with_log_limit(0).with_runner(AtOnce);
    let checkpoint = place.read(DATA).len();
    let mut rewrites = 0;
    for count in 4..200 {
        place.record.take();
        commit(&mut journal, &mut state, &[counted(count)]).unwrap();
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

#[test]
fn the_store_is_behind_a_trait() {
    let mut store = MemoryStore::default();
    assert!(store.load().unwrap().sealed_data.is_none());
    let opened = open(Box::new(store), Arc::new(Enclave(1)), Arc::new(AwsDice), false).unwrap();
    let mut journal = opened.journal;
    let mut state = first_state(&mut journal);
    commit(&mut journal, &mut state, &[counted(1)]).unwrap();
    assert!(same(&journal.open_with(&data_key(&state)).unwrap().state, &state));
}
