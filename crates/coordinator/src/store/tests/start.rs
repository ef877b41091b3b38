//! What the start finds, refuses, and recovers.

use super::*;

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
    commit(&mut opened.journal, &mut recovered, &[counted(4)]).unwrap();
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
        Simulation::Lenient(SimulationMode::by_explicit_configuration()),
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
            Simulation::Lenient(SimulationMode::by_explicit_configuration()),
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
    commit(&mut opened.journal, &mut state, &[counted(4)]).unwrap();
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
        commit(&mut opened.journal, &mut found, &[counted(4)]).unwrap();
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
        commit(&mut opened.journal, &mut state, &changes),
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
        commit(&mut opened.journal, &mut state, &[counted(count)]).unwrap();
        drop(opened);
        opened = place.open(NoSealKeys);
        assert!(locked_reason(&opened).contains("there is no"));
        let found = opened.journal.open_with(&data_key(&state)).unwrap();
        assert!(same(&opened.journal.adopt(found).unwrap().0, &state));
        assert_eq!(place.names(), ["lock", DATA]);
    }
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
fn the_newest_torn_tail_is_kept_when_the_clock_was_set_back() {
    use std::sync::atomic::{AtomicI64, Ordering};
    // A minute earlier at each look.
    static NOW: AtomicI64 = AtomicI64::new(1_795_250_551_650);
    let set_back = || Timestamp::from_unix_millis(NOW.fetch_sub(60_000, Ordering::Relaxed));
    let (place, _) = Place::with_state();
    let mut store = FileStore::open(place.path(), set_back).unwrap();
    let length = place.read(DATA).len() as u64;
    for number in 0..7_u8 {
        store.load().unwrap();
        store.append(length, &[number; 9]).unwrap();
        let kept = store.cut(length).unwrap();
        assert_eq!(std::fs::read(&kept).unwrap(), [number; 9], "{kept}");
    }
    let names = place.names();
    let torn = names.iter().filter(|name| name.starts_with("torn-")).count();
    assert_eq!(torn, 5, "{names:?}");
}
