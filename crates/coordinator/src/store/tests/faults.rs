//! File calls that fail: every call of every kind of commit, refused, without room, done by
//! half, or done and reported as failed, once and for good.
//!
//! Whatever fails: what was acknowledged stays, what was refused did not happen or is reported as unknown, nothing is
//! written behind a write or a sync that failed, and once the disk works again the Coordinator goes on by itself.

use std::time::{Duration, Instant};

use marblerun_core::decision::{Decision, Verdict};
use marblerun_core::phase::Phase;
use marblerun_core::recovery::{RecoveredKey, RecoveryPlan};
use marblerun_core::refusal::{Refusal, RefusalKind};

use super::machine::{Broken, Fault, Machine, Numbers};
use super::*;
use crate::keeper::Keeper;
use crate::opening::Durable;

const TORN: &str = "append behind a torn tail";
const FAULTS: [Fault; 4] = [Fault::Input, Fault::Full, Fault::Short, Fault::Unknown];

/// Something that writes: what is there before, and what is asked.
struct Case {
    name: &'static str,
    machine: Machine,
    /// The state before; `None` if there is none.
    old: Option<State>,
    /// Whether the state before needs recovery.
    locked: bool,
    changes: Vec<Change>,
    log_limit: u64,
    /// File calls it takes at least, which shows that it does what it is to do.
    calls: usize,
}

fn opened(machine: &Machine) -> Opened {
    try_open(machine).unwrap()
}

fn try_open(machine: &Machine) -> Result<Opened, StoreError> {
    let store = FileStore::on(Box::new(machine.disk()), clock)?;
    open(Box::new(store), Arc::new(Enclave(1)), Arc::new(AwsDice), false)
}

fn with_state() -> (Machine, State) {
    let machine = Machine::new(Broken::No);
    let mut journal = opened(&machine).journal;
    let mut state = stock_state(0);
    commit(
        &mut journal,
        &mut state,
        &[manifest_set("ProductKey"), key_drawn(1)],
    )
    .unwrap();
    for count in 1..=3 {
        commit(&mut journal, &mut state, &[counted(count), written("s", 700)]).unwrap();
    }
    drop(journal);
    (machine, state)
}

fn cases() -> Vec<Case> {
    let on_a_state = |name, changes, log_limit, calls| {
        let (machine, state) = with_state();
        Case {
            name,
            machine,
            old: Some(state),
            locked: false,
            changes,
            log_limit,
            calls,
        }
    };
    let first = vec![manifest_set("ProductKey"), key_drawn(1)];
    let mut given_up = on_a_state(
        "manifest while recovery is waited for",
        first.clone(),
        1 << 20,
        18,
    );
    given_up.machine.lose(KEY);
    given_up.locked = true;
    let torn = on_a_state(TORN, vec![counted(4)], 1 << 20, 9);
    torn.machine.add(DATA, &[7; 700]);
    vec![
        on_a_state("append", vec![counted(4)], 1 << 20, 2),
        on_a_state("append of many sectors", vec![written("s", 9000)], 1 << 20, 2),
        on_a_state("new data key", vec![key_drawn(2), counted(4)], 1 << 20, 10),
        on_a_state("checkpoint", vec![counted(4), written("t", 9000)], 0, 9),
        on_a_state(
            "sealing disabled",
            vec![manifest_set("Disabled"), key_drawn(2)],
            1 << 20,
            2,
        ),
        Case {
            name: "first manifest",
            machine: Machine::new(Broken::No),
            old: None,
            locked: false,
            changes: first,
            log_limit: 1 << 20,
            calls: 10,
        },
        given_up,
        torn,
    ]
}

/// The state a machine holds after a loss of power, or why there is none.
fn found(machine: &Machine, old: Option<&State>, seed: u64) -> Result<Option<State>, String> {
    let machine = machine.after_power_loss(&mut Numbers::new(seed));
    match try_open(&machine) {
        Ok(opened) => match opened.found {
            Found::State(state) => Ok(Some(*state)),
            Found::Nothing => Ok(None),
            Found::Locked { reason, .. } => {
                let key = data_key(old.ok_or(reason)?);
                let mut journal = opened.journal;
                journal
                    .open_with(&key)
                    .map(|opened| Some(opened.state))
                    .map_err(|e| e.to_string())
            }
        },
        Err(StoreError::StateMissing { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether nothing is written behind a write or sync of the sealed file that failed, before a file takes its place.
fn nothing_follows(calls: &[String], failed: usize) -> bool {
    let of_the_file = |call: &String| call == "write sealed_data" || call == "sync data sealed_data";
    if !calls.get(failed).is_some_and(of_the_file) {
        return true;
    }
    calls[failed + 1..]
        .iter()
        .take_while(|call| !call.ends_with(" sealed_data") || of_the_file(call))
        .all(|call| !of_the_file(call))
}

#[test]
fn a_store_that_hopes_for_the_second_sync_is_found() {
    let calls = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (write, sync) = ("write sealed_data", "sync data sealed_data");
    assert!(!nothing_follows(&calls(&[write, sync, sync]), 1));
    assert!(!nothing_follows(&calls(&[write, write, sync]), 0));
    assert!(!nothing_follows(
        &calls(&[write, sync, "create sealed_data.new", write]),
        1
    ));
    let anew = calls(&[write, sync, "rename sealed_data.new sealed_data", write, sync]);
    assert!(nothing_follows(&anew, 1));
}

#[test]
fn whatever_call_fails_nothing_is_lost_and_it_goes_on_by_itself() {
    let mut failures = 0;
    for case in cases() {
        for fault in FAULTS {
            for for_good in [false, true] {
                // Half a write each time is no fault but a slow disk.
                if fault == Fault::Short && for_good {
                    continue;
                }
                for count in 0.. {
                    let (came, refused) = one_failure(&case, fault, for_good, count);
                    failures += usize::from(refused);
                    if !came {
                        assert!(count >= case.calls, "{}: only {count} calls", case.name);
                        break;
                    }
                }
            }
        }
    }
    println!("failing calls: {failures} commits refused, 0 acknowledged changes lost, 0 panics");
    assert!(failures > 200, "{failures}");
}

/// Whether the fault came, and whether the commit was refused.
fn one_failure(case: &Case, fault: Fault, for_good: bool, count: usize) -> (bool, bool) {
    let Case {
        name, old, changes, ..
    } = case;
    let at = format!("{name}, {fault:?} at call {count}, for good: {for_good}");
    let machine = case.machine.copy();
    // The start counts as well where it writes.
    let early = (case.name == TORN).then(|| machine.fail_after(count, fault, for_good));
    let opened = match try_open(&machine) {
        Ok(opened) => opened,
        Err(error) => {
            // Refused by name; the next start finds all as it was.
            assert!(
                early.is_some() && error.to_string().contains("sealed_data"),
                "{at}: {error}"
            );
            machine.repair();
            let found = found(&machine, old.as_ref(), 1).unwrap().unwrap();
            assert!(same(&found, old.as_ref().unwrap()), "{at}");
            return (true, false);
        }
    };
    if early.is_none() {
        machine.take_calls();
        machine.fail_after(count, fault, for_good);
    }
    let mut journal = opened.journal.with_log_limit(case.log_limit).with_runner(AtOnce);
    let mut state = match (&opened.found, old) {
        (Found::State(found), Some(old)) => {
            assert!(same(found, old), "{at}: another state is served");
            State::clone(found)
        }
        (Found::Nothing, None) | (Found::Locked { .. }, Some(_)) => stock_state(1),
        _ => panic!("{at}: something else is found"),
    };
    let before = state.clone();
    let mut new = state.clone();
    changes.iter().for_each(|change| new.apply(change));
    let disabled = journal_keeps_nothing(&new);

    let refused = commit(&mut journal, &mut state, changes).is_err();
    let came = !machine.fault_is_to_come();
    // The Coordinator may end here.
    for seed in 0..3 {
        let found = found(&machine, old.as_ref(), seed).unwrap_or_else(|problem| panic!("{at}: {problem}"));
        let is = |expected: Option<&State>| match (&found, expected) {
            (Some(found), Some(expected)) => same(found, expected),
            (None, None) => true,
            _ => false,
        };
        let new = (!disabled).then_some(&new);
        assert!(
            is(new) || (refused && is(old.as_ref())),
            "{at}: neither old nor new"
        );
    }
    if refused {
        assert!(same(&state, &before), "{at}: the published state changed");
        if for_good {
            // As the keeper does: first all is to be written anew, and that fails.
            let again = journal
                .restore(&state)
                .and_then(|()| commit(&mut journal, &mut state, changes));
            assert!(again.is_err(), "{at}: a change is accepted on a disk that fails");
        }
        assert!(nothing_follows(&machine.take_calls(), count), "{at}");
    }
    machine.repair();
    if refused {
        journal
            .restore(&state)
            .unwrap_or_else(|error| panic!("{at}: {error}"));
        if case.locked {
            // Nothing has happened: the state can still be recovered, in this process and in the next.
            let waiting = found(&machine, old.as_ref(), 1).unwrap().unwrap();
            assert!(
                same(&waiting, old.as_ref().unwrap()),
                "{at}: the old state is gone"
            );
            let waiting = journal.open_with(&data_key(&waiting)).unwrap().state;
            assert!(
                same(&waiting, old.as_ref().unwrap()),
                "{at}: the old state is gone"
            );
        }
        commit(&mut journal, &mut state, changes).unwrap_or_else(|error| panic!("{at}: {error}"));
    }
    if !disabled {
        // More than a failed checkpoint waits for before it is tried again.
        commit(&mut journal, &mut state, &[counted(77)]).unwrap_or_else(|error| panic!("{at}: {error}"));
        let found = found(&machine, None, 2).unwrap_or_else(|problem| panic!("{at}: {problem}"));
        assert!(same(&found.unwrap(), &state), "{at}: not what was acknowledged");
        if case.locked {
            let aside = machine.names().iter().any(|name| name.ends_with("-sealed_data"));
            assert!(aside, "{at}: the state that was given up is not kept aside");
        }
    }
    (came, refused)
}

fn journal_keeps_nothing(state: &State) -> bool {
    let mode = state.manifest().map(|manifest| manifest.config.seal_mode);
    mode == Some(marblerun_core::manifest::SealMode::Disabled)
}

#[test]
fn a_seal_mode_that_cannot_be_changed_leaves_the_key_usable() {
    let (machine, state) = with_state();
    let mut updated = state.clone();
    updated.apply(&manifest_set("UniqueKey"));
    let sealing = state.sealing().unwrap();
    updated.apply(&Change::DataKeyDrawn {
        key_generation: sealing.key_generation,
        key: sealing.key.clone(),
        recovery: sealing.recovery.clone(),
    });
    for fault in FAULTS {
        for count in 0.. {
            let machine = machine.copy();
            let mut journal = opened(&machine).journal;
            machine.fail_after(count, fault, false);
            let refused = journal.commit(&[counted(4)], &updated).is_err();
            let came = !machine.fault_is_to_come();
            let after = found(&machine, None, 5).unwrap().unwrap();
            assert!(after.activations("m") == 4 || (refused && same(&after, &state)));
            if !came {
                assert!(!refused && count >= 7, "{count}");
                break;
            }
        }
    }
}

#[test]
fn a_recovery_that_cannot_be_stored_is_refused_and_the_state_waits_on() {
    let (machine, state) = with_state();
    machine.lose(KEY);
    for fault in FAULTS {
        for count in 0.. {
            let machine = machine.copy();
            let mut journal = opened(&machine).journal;
            machine.fail_after(count, fault, false);
            let recovered = journal.open_with(&data_key(&state));
            let refused = recovered.and_then(|opened| journal.adopt(opened)).is_err();
            let came = !machine.fault_is_to_come();
            machine.repair();
            let after = found(&machine, Some(&state), 5).unwrap().unwrap();
            assert!(same(&after, &state));
            if refused {
                let recovered = journal.open_with(&data_key(&state)).unwrap();
                journal.adopt(recovered).unwrap();
            }
            let mut going_on = state.clone();
            commit(&mut journal, &mut going_on, &[counted(4)]).unwrap();
            assert!(same(&found(&machine, None, 6).unwrap().unwrap(), &going_on));
            if !came {
                assert!(!refused && count >= 5, "{count}");
                break;
            }
        }
    }
}

/// Has the keeper decide on these changes.
fn decide(keeper: &Keeper, changes: Vec<Change>) -> Result<(), Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let decided = keeper.decide(move |_| Ok(Verdict::Decided(Decision { changes, reply: () })));
    runtime.block_on(decided).map(|decided| decided.unwrap())
}

fn recover(keeper: &Keeper, key: DataKey) -> Result<bool, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let key = RecoveredKey {
        key,
        plan: RecoveryPlan::none(),
        collected: Vec::new(),
        remaining: 0,
    };
    runtime.block_on(keeper.recover(key, |_| Ok(())))
}

#[test]
fn the_keeper_serves_the_state_before_while_the_disk_is_full_and_resumes_alone() {
    let (machine, state) = with_state();
    let (keeper, writer) = Keeper::start(state, Box::new(Durable(opened(&machine).journal)), |_| ()).unwrap();
    machine.fail_after(0, Fault::Full, true);
    for expected in [
        "its outcome is unknown",
        "cannot be written at present",
        "cannot be written at present",
    ] {
        let refusal = decide(&keeper, vec![counted(10)]).unwrap_err();
        assert_eq!(refusal.kind(), RefusalKind::Unavailable);
        assert!(refusal.to_string().contains(expected), "{refusal}");
        assert_eq!(keeper.snapshot().activations("m"), 3);
    }
    machine.repair();
    decide(&keeper, vec![counted(11)]).unwrap();
    assert_eq!(keeper.snapshot().activations("m"), 11);
    assert_eq!(found(&machine, None, 1).unwrap().unwrap().activations("m"), 11);
    drop(keeper);
    writer.join().unwrap();
}

#[test]
fn the_keeper_resumes_although_nobody_writes() {
    let (machine, state) = with_state();
    let (keeper, writer) = Keeper::start(state, Box::new(Durable(opened(&machine).journal)), |_| ()).unwrap();
    machine.fail_after(0, Fault::Full, true);
    decide(&keeper, vec![counted(10)]).unwrap_err();
    machine.take_calls();
    let wait_for = |what: &str, seen: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while !seen() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // It is tried while the disk is full still, and again.
    wait_for("no attempt", &|| !machine.take_calls().is_empty());
    machine.repair();
    let renamed = |call: &String| call.starts_with("rename sealed_data.new");
    wait_for("no second attempt", &|| machine.take_calls().iter().any(renamed));
    wait_for("it does not stay whole", &|| {
        found(&machine, None, 1).is_ok_and(|state| state.is_some_and(|state| state.activations("m") == 3))
    });
    decide(&keeper, vec![counted(11)]).unwrap();
    assert_eq!(found(&machine, None, 1).unwrap().unwrap().activations("m"), 11);
    drop(keeper);
    writer.join().unwrap();
}

#[test]
fn a_manifest_in_recovery_whose_outcome_is_unknown_costs_nothing() {
    let (machine, old) = with_state();
    machine.lose(KEY);
    for recovers in [true, false] {
        for count in 0.. {
            let machine = machine.copy();
            let journal = opened(&machine).journal;
            let (keeper, writer) = Keeper::start(begun(true), Box::new(Durable(journal)), |_| ()).unwrap();
            let changes = vec![manifest_set("ProductKey"), key_drawn(1)];
            machine.take_calls();
            machine.fail_after(count, Fault::Unknown, false);
            let answer = decide(&keeper, changes.clone());
            let came = !machine.fault_is_to_come();
            machine.repair();
            if let Err(refusal) = &answer {
                assert!(refusal.to_string().contains("unknown"), "{refusal}");
                assert_eq!(keeper.snapshot().phase(), Phase::Recovery);
                if recovers {
                    assert!(
                        recover(&keeper, data_key(&old)).unwrap(),
                        "{count}: the key of the old state"
                    );
                    assert!(same(&keeper.snapshot(), &old));
                    decide(&keeper, vec![counted(5)]).unwrap();
                } else {
                    decide(&keeper, changes).unwrap();
                }
            }
            let kept = found(&machine, None, 3).unwrap().unwrap();
            assert!(same(&kept, &keeper.snapshot()), "{count}");
            drop(keeper);
            writer.join().unwrap();
            if !came {
                assert!(answer.is_ok() && count >= 10, "{count}");
                break;
            }
        }
    }
}

#[test]
fn a_checkpoint_that_fails_is_tried_again_when_the_log_has_grown() {
    let (machine, mut state) = with_state();
    let mut journal = opened(&machine).journal.with_log_limit(0).with_runner(AtOnce);
    machine.take_calls();
    // The append takes two calls; the draft cannot be made.
    machine.fail_after(2, Fault::Full, false);
    commit(&mut journal, &mut state, &[written("s", 30_000)]).unwrap();
    let attempts = |calls: &[String]| {
        calls
            .iter()
            .filter(|call| *call == "create checkpoint.new")
            .count()
    };
    assert_eq!(attempts(&machine.take_calls()), 1);
    let mut bytes = 0;
    while attempts(&machine.take_calls()) == 0 {
        commit(&mut journal, &mut state, &[written("s", 30_000)]).unwrap();
        bytes += 30_000;
    }
    assert!((200_000..400_000).contains(&bytes), "{bytes}");
    let calls = machine.names();
    assert!(!calls.iter().any(|name| name == "checkpoint.new"), "{calls:?}");
    assert!(same(&found(&machine, None, 1).unwrap().unwrap(), &state));
}
