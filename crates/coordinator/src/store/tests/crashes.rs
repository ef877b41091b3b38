//! Kills and failures at every operation of every kind of commit.

use super::recording::Failure;
use super::*;

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
    let mut journal = opened.journal.with_log_limit(limit).with_runner(AtOnce);
    let mut state = state;
    if kind == "checkpoint" {
        // Up to the commit before the one that makes a checkpoint. Every frame is as long as the one here.
        let before = place.read(DATA).len();
        commit(&mut journal, &mut state, &[counted(3)]).unwrap();
        let frame = place.read(DATA).len() - before;
        let limit = 2 * checkpoint_length(&place);
        while place.read(DATA).len() + frame <= limit {
            commit(&mut journal, &mut state, &[counted(3)]).unwrap();
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
        Box::new(MemoryStore::holding(Stored {
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
            let acknowledged = commit(&mut journal, &mut state, &changes).is_ok();
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
                if commit(&mut journal, &mut state, &changes).is_err() {
                    if with_restore {
                        journal.restore(&state).unwrap();
                    }
                    commit(&mut journal, &mut state, &changes).unwrap();
                }
                let failed = place.record.take();
                place.record.succeed();
                commit(&mut journal, &mut state, &[counted(7)]).unwrap();
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
    assert!(commit(&mut journal, &mut state, &[counted(4)]).is_err());
    journal.restore(&state).unwrap();
    drop(journal);
    assert!(same(&place.state(), &state));
    assert_eq!(state.activations("m"), 3);
}
