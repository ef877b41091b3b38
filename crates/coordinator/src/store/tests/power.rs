//! Power loss: thousands of short lives of a Coordinator, each ended by the power going at any
//! file call, on a disk that keeps any part of what was not synced.
//!
//! After each the state has to be the last one that was acknowledged, or that with the one change that was being
//! written. `MARBLERUN_POWER_SEEDS` sets how many lives are tried.

use std::sync::atomic::{AtomicU64, Ordering};

use super::machine::{Broken, Machine, Numbers};
use super::*;

/// Lives of one machine, one after the other.
const LIVES: usize = 3;
/// Commits in one life, if the power stays.
const COMMITS: usize = 12;

/// What a journal of the campaign does wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Machine(Broken),
    /// It answers first and writes with the next commit.
    AnswersEarly,
}

/// What happened in all lives.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    seeds: u64,
    cuts: u64,
    commits: u64,
    kept_old: u64,
    kept_new: u64,
    torn: u64,
    checkpoints: u64,
    recoveries: u64,
    given_up: u64,
    /// Lives that ended with a kill of the process, and the disk kept all for now.
    kills: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.cuts += other.cuts;
        self.commits += other.commits;
        self.kept_old += other.kept_old;
        self.kept_new += other.kept_new;
        self.torn += other.torn;
        self.checkpoints += other.checkpoints;
        self.recoveries += other.recoveries;
        self.given_up += other.given_up;
        self.kills += other.kills;
    }
}

/// What whoever asked the Coordinator knows.
#[derive(Clone)]
struct Known {
    /// The last state that was acknowledged; `None` before the first.
    acknowledged: Option<State>,
    /// A state whose commit was neither acknowledged nor refused before the power went.
    attempted: Option<State>,
    /// The key file was lost: until it is recovered, the state may be locked.
    may_be_locked: bool,
}

fn open_on(machine: &Machine) -> Result<Opened, StoreError> {
    let store = FileStore::on(Box::new(machine.disk()), clock)?;
    open(Box::new(store), Arc::new(Enclave(1)), Arc::new(AwsDice), false)
}

/// One seed: several lives of one machine.
fn lives(seed: u64, fault: Fault) -> Result<Tally, String> {
    let mut numbers = Numbers::new(seed);
    let broken = match fault {
        Fault::Machine(broken) => broken,
        Fault::Nothing | Fault::AnswersEarly => Broken::No,
    };
    let mut machine = Machine::new(broken);
    let mut tally = Tally {
        seeds: 1,
        ..Tally::default()
    };
    let mut known = Known {
        acknowledged: None,
        attempted: None,
        may_be_locked: false,
    };
    for _ in 0..LIVES {
        machine.off_after(numbers.below(45));
        live(&machine, &mut numbers, &mut known, &mut tally, fault);
        let calls = machine.take_calls();
        tally.cuts += u64::from(machine.is_off());
        machine = if numbers.chance(20) {
            tally.kills += 1;
            machine.copy()
        } else {
            machine.after_power_loss(&mut numbers)
        };
        let names = machine.names();
        look(&machine, &mut known, &mut tally).map_err(|problem| {
            format!("seed {seed}: {problem}; calls of the last life: {calls:?}; files: {names:?}")
        })?;
        if known.acknowledged.is_some() && !known.may_be_locked && numbers.chance(15) {
            machine.lose(KEY);
            known.may_be_locked = true;
        }
    }
    Ok(tally)
}

/// A life: starts, commits one thing after the other until the power goes or it has been enough.
fn live(machine: &Machine, numbers: &mut Numbers, known: &mut Known, tally: &mut Tally, fault: Fault) {
    let Ok(opened) = open_on(machine) else {
        assert!(machine.is_off(), "a start fails");
        return;
    };
    let later = Later::default();
    let limit = if numbers.chance(70) { 0 } else { 1 << 20 };
    let mut journal = opened.journal.with_log_limit(limit).with_runner(later.clone());
    let mut state = match opened.found {
        Found::State(state) => *state,
        Found::Nothing => stock_state(0),
        Found::Locked { .. } => {
            let locked = known.acknowledged.clone().unwrap();
            if numbers.chance(70) {
                let Ok(found) = journal.open_with(&data_key(&locked)) else {
                    assert!(machine.is_off(), "the key of the state does not open it");
                    return;
                };
                let Ok((state, _)) = journal.adopt(found) else {
                    assert!(machine.is_off(), "a recovered state cannot be taken over");
                    return;
                };
                known.may_be_locked = false;
                tally.recoveries += 1;
                state
            } else {
                stock_state(1)
            }
        }
    };
    for _ in 0..COMMITS {
        let mut changes = Vec::new();
        let first = state.manifest().is_none();
        if first {
            changes.extend([manifest_set("ProductKey"), key_drawn(1)]);
        }
        for _ in 0..=numbers.below(3) {
            changes.push(counted(numbers.next() >> 1));
            if numbers.chance(40) {
                changes.push(written("s", numbers.below(4000)));
            }
        }
        if !first && numbers.chance(15) {
            let generation = state.sealing().unwrap().key_generation;
            changes.push(key_drawn(generation + 1));
        } else if !first && numbers.chance(10) {
            changes.push(manifest_set(if numbers.chance(50) {
                "UniqueKey"
            } else {
                "ProductKey"
            }));
            // Setting a manifest begins a deployment without a key; an update keeps it.
            let sealing = state.sealing().unwrap();
            changes.push(Change::DataKeyDrawn {
                key_generation: sealing.key_generation + 1,
                key: sealing.key.clone(),
                recovery: sealing.recovery.clone(),
            });
        }
        let mut pending = state.clone();
        changes.iter().for_each(|change| pending.apply(change));
        known.attempted = Some(pending.clone());
        if fault == Fault::AnswersEarly {
            known.acknowledged = Some(pending.clone());
        }
        if journal.commit(&changes, &pending).is_err() {
            assert!(machine.is_off(), "a commit fails");
            return;
        }
        tally.commits += 1;
        if first && known.may_be_locked {
            tally.given_up += 1;
        }
        *known = Known {
            acknowledged: Some(pending.clone()),
            attempted: None,
            may_be_locked: false,
        };
        state = pending;
        journal.settle(&state);
        if numbers.chance(40) && later.work() {
            tally.checkpoints += 1;
        }
    }
}

/// What a new start finds has to be what is known.
fn look(machine: &Machine, known: &mut Known, tally: &mut Tally) -> Result<(), String> {
    let attempted = known.attempted.take();
    let opened = match open_on(machine) {
        Ok(opened) => opened,
        Err(StoreError::StateMissing { .. }) if known.acknowledged.is_none() => {
            // As whoever runs it would do, after having looked.
            machine.names().iter().for_each(|name| machine.lose(name));
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    tally.torn += u64::from(!opened.notices.is_empty());
    let acknowledged = known.acknowledged.as_ref();
    match opened.found {
        Found::State(found) => {
            let is = |state: &State| same(&found, state);
            if acknowledged.is_some_and(is) {
                tally.kept_old += 1;
            } else if attempted.as_ref().is_some_and(is) {
                tally.kept_new += 1;
                known.acknowledged = attempted;
            } else {
                return Err(format!(
                    "position {} was found, neither acknowledged ({:?}) nor attempted ({:?})",
                    found.position(),
                    acknowledged.map(State::position),
                    attempted.map(|state| state.position())
                ));
            }
            known.may_be_locked = false;
            Ok(())
        }
        Found::Nothing if acknowledged.is_none() => Ok(()),
        Found::Nothing => Err("a fresh start".to_owned()),
        Found::Locked { reason, .. } => {
            let Some(acknowledged) = acknowledged.filter(|_| known.may_be_locked) else {
                return Err(format!("an unplanned recovery: {reason}"));
            };
            let mut journal = opened.journal;
            match journal.open_with(&data_key(acknowledged)) {
                Ok(found) if same(&found.state, acknowledged) => Ok(()),
                Ok(_) => Err("the locked state is another".to_owned()),
                Err(error) => Err(format!("the locked state does not open: {error}")),
            }
        }
    }
}

/// Tries seeds on all processors; the first violation of each.
fn campaign(seeds: u64, fault: Fault) -> Result<Tally, String> {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let work = || {
            let mut tally = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return Ok::<_, String>(tally);
                }
                tally.add(&lives(seed, fault)?);
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut total = Tally::default();
        for worker in workers {
            total.add(&worker.join().unwrap()?);
        }
        Ok(total)
    })
}

#[test]
fn power_loss_at_any_call_leaves_the_old_state_or_the_new() {
    let seeds = std::env::var("MARBLERUN_POWER_SEEDS").map_or(10_000, |seeds| seeds.parse().unwrap());
    let began = std::time::Instant::now();
    let tally = campaign(seeds, Fault::Nothing).unwrap_or_else(|violation| panic!("{violation}"));
    println!("power loss: {tally:?} in {:?}", began.elapsed());
    // Each kind of thing has happened often.
    for often in [
        tally.cuts,
        tally.kept_new,
        tally.torn,
        tally.checkpoints,
        tally.recoveries,
        tally.given_up,
        tally.kills,
    ] {
        assert!(often > seeds / 200, "{tally:?}");
    }
}

#[test]
fn a_disk_that_skips_syncs_and_a_keeper_that_answers_early_are_found() {
    for fault in [
        Fault::Machine(Broken::FileSync),
        Fault::Machine(Broken::DirectorySync),
        // What a killed process left is served, and is not made durable before.
        Fault::Machine(Broken::SyncOfOthers),
        Fault::AnswersEarly,
    ] {
        let violation = campaign(2000, fault).err().unwrap();
        assert!(violation.starts_with("seed "), "{violation}");
    }
}
