//! Taking over a state of the original while the power goes or file calls fail: it is there, or ours is; it is never
//! lost, and kept aside once ours is there.

use marblerun_core::original::OriginalHeader;
use marblerun_core::recovery::{Lock, RecoveredKey, RecoveryPlan, RecoveryScheme};

use super::machine::{Broken, Fault, Machine, Numbers};
use super::*;
use crate::store::disk::{Disk as _, write_whole};

const KEY: &str = "e9e49cb417758e6d62c79a60ea6739a28818ef3063f1a916e7124c2fddca2455";

fn original() -> Vec<u8> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden/original/single-sealed_data.bin");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn recovered() -> RecoveredKey {
    let key = hex::decode(KEY).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key);
    let hash = hash.as_ref().try_into().unwrap();
    RecoveredKey {
        key: DataKey::from_bytes(SecretBytes::copy_from(&key)).unwrap(),
        plan: RecoveryPlan::from_parts(RecoveryScheme::Single, 1, vec![hash]).unwrap(),
        collected: Vec::new(),
        remaining: 0,
    }
}

/// A machine with a state of the original, durably.
fn machine() -> Machine {
    let machine = Machine::new(Broken::No);
    let disk = machine.disk();
    write_whole(&disk, "sealed_data", &original()).unwrap();
    disk.sync_directory().unwrap();
    machine
}

fn try_open(machine: &Machine) -> Result<Opened, StoreError> {
    let store = FileStore::on(Box::new(machine.disk()), clock)?;
    open(Box::new(store), Arc::new(Enclave(1)), Arc::new(AwsDice), false)
}

fn take_over(journal: &mut SealedJournal) -> Result<State, StoreError> {
    let key = recovered();
    if let Some(state) = journal.open_original(&key)? {
        journal.take_over(&state)?;
        return Ok(state);
    }
    let opened = journal.open_with(&key.key)?;
    journal.adopt(opened).map(|(state, _)| state)
}

/// Whether ours is there; `Err` if neither is, or the original is not kept beside ours.
fn is_ours(machine: &Machine) -> Result<bool, String> {
    let opened = try_open(machine).map_err(|error| error.to_string())?;
    match opened.found {
        Found::Locked {
            lock: Lock::Original(_),
            ..
        } if machine.content("sealed_data") == Some(original()) => Ok(false),
        Found::State(_) => {
            let names = machine.names();
            let aside = names.iter().find(|name| name.ends_with("-sealed_data"));
            let kept = aside.and_then(|name| machine.content(name));
            let kept = kept.ok_or("the original is not kept")?;
            if kept == original() {
                Ok(true)
            } else {
                Err("the original is kept in part".to_owned())
            }
        }
        Found::Nothing | Found::Locked { .. } => Err("something else is found".to_owned()),
    }
}

#[test]
fn the_power_may_go_at_any_call() {
    let (mut kept, mut taken) = (0, 0);
    for count in 0.. {
        let machine = machine();
        let mut journal = try_open(&machine).unwrap().journal;
        machine.off_after(count);
        let outcome = take_over(&mut journal);
        for seed in 0..20 {
            let after = machine.after_power_loss(&mut Numbers::new(seed));
            let ours = is_ours(&after).unwrap_or_else(|problem| panic!("call {count}, {seed}: {problem}"));
            assert!(
                ours || outcome.is_err(),
                "call {count}, {seed}: what was told is lost"
            );
            if ours {
                taken += 1;
            } else {
                kept += 1;
                // What waits still can be taken over.
                take_over(&mut try_open(&after).unwrap().journal).unwrap();
                assert_eq!(is_ours(&after), Ok(true), "call {count}, {seed}");
            }
        }
        if !machine.is_off() {
            assert!(count >= 8, "only {count} calls");
            break;
        }
    }
    assert!(kept > 20 && taken > 20, "{kept} {taken}");
}

#[test]
fn any_call_may_fail() {
    for fault in [Fault::Input, Fault::Full, Fault::Short, Fault::Unknown] {
        for count in 0.. {
            let machine = machine();
            let mut journal = try_open(&machine).unwrap().journal;
            machine.fail_after(count, fault, false);
            let outcome = take_over(&mut journal);
            let came = !machine.fault_is_to_come();
            machine.repair();
            let ours =
                is_ours(&machine.copy()).unwrap_or_else(|problem| panic!("{fault:?} {count}: {problem}"));
            assert!(ours || outcome.is_err(), "{fault:?} {count}");
            let mut state = match outcome {
                Ok(state) => state,
                Err(_) => {
                    take_over(&mut journal).unwrap_or_else(|error| panic!("{fault:?} {count}: {error}"))
                }
            };
            commit(&mut journal, &mut state, &[counted(5)]).unwrap();
            for seed in 0..3 {
                let after = machine.after_power_loss(&mut Numbers::new(seed));
                assert_eq!(is_ours(&after), Ok(true), "{fault:?} {count}");
                match try_open(&after).unwrap().found {
                    Found::State(found) => assert!(same(&found, &state), "{fault:?} {count}"),
                    _ => panic!("{fault:?} {count}: locked"),
                }
            }
            if !came {
                assert!(count >= 8, "only {count} calls");
                break;
            }
        }
    }
}

#[test]
fn the_recording_is_one_of_the_original() {
    assert!(
        OriginalHeader::parse(&original())
            .unwrap()
            .share_hashes()
            .is_empty()
    );
}
