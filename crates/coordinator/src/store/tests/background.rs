//! Checkpoints beside a log that goes on growing, and what a commit costs.

use std::time::{Duration, Instant};

use marblerun_core::decision::{Decision, Verdict};

use super::*;
use crate::keeper::Keeper;
use crate::opening::Durable;

/// Commits to a journal on a place, and reads what came of it.
fn header_of(place: &Place) -> Vec<u8> {
    place.read(DATA)[..100].to_vec()
}

#[test]
fn changes_go_on_while_a_checkpoint_is_made_and_all_are_in_it() {
    let (place, mut state) = Place::with_state();
    let later = Later::default();
    let mut journal = place
        .open(Enclave(1))
        .journal
        .with_log_limit(0)
        .with_runner(later.clone());
    let old = header_of(&place);
    // Larger than the checkpoint: one is due, and begins.
    commit(&mut journal, &mut state, &[written("s", 20_000)]).unwrap();
    assert!(place.names().contains(&"checkpoint.new".to_owned()));
    for count in 10..20 {
        commit(&mut journal, &mut state, &[counted(count)]).unwrap();
        assert_eq!(header_of(&place), old);
    }
    assert!(later.work());
    // Finished, but not yet in place; these come into it at the end.
    let mut pending = state.clone();
    for count in 20..30 {
        pending.apply(&counted(count));
        journal.commit(&[counted(count)], &pending).unwrap();
        assert_eq!(header_of(&place), old);
    }
    state = pending;
    place.record.take();
    journal.settle(&state);
    assert_eq!(
        place.record.take(),
        [
            "write checkpoint.new",
            "sync checkpoint.new",
            "rename checkpoint.new sealed_data",
            "sync directory",
        ]
    );
    assert_ne!(header_of(&place), old);
    assert_eq!(place.names(), ["lock", DATA, KEY]);
    commit(&mut journal, &mut state, &[counted(30)]).unwrap();
    drop(journal);
    assert!(same(&place.state(), &state));
}

#[test]
fn a_checkpoint_of_a_file_that_was_replaced_is_never_published() {
    type Replace = fn(&mut SealedJournal, &mut State);
    let kinds: [(&str, Replace); 3] = [
        ("new key", |journal, state| {
            commit(journal, state, &[key_drawn(2)]).unwrap();
        }),
        ("restored", |journal, state| {
            journal.restore(state).unwrap();
        }),
        ("disabled", |journal, state| {
            commit(journal, state, &[manifest_set("Disabled"), key_drawn(2)]).unwrap();
        }),
    ];
    for (kind, replace) in kinds {
        let (place, mut state) = Place::with_state();
        let later = Later::default();
        let mut journal = place
            .open(Enclave(1))
            .journal
            .with_log_limit(0)
            .with_runner(later.clone());
        commit(&mut journal, &mut state, &[written("s", 20_000)]).unwrap();
        replace(&mut journal, &mut state);
        later.work();
        journal.settle(&state);
        assert!(!place.names().contains(&"checkpoint.new".to_owned()), "{kind}");
        if kind != "disabled" {
            commit(&mut journal, &mut state, &[counted(9)]).unwrap();
            drop(journal);
            assert!(same(&place.state(), &state), "{kind}");
        }
    }
}

#[test]
fn a_draft_that_a_crash_left_behind_is_removed() {
    let (place, state) = Place::with_state();
    place.write("checkpoint.new", b"half of it");
    assert!(same(&place.state(), &state));
    assert_eq!(place.names(), ["lock", DATA, KEY]);
}

/// Journal and state with so many secrets in the log, on a real directory without a record.
fn large(directory: &Path, secrets: usize) -> (SealedJournal, State) {
    let store = FileStore::open(directory, clock).unwrap();
    let opened = open(Box::new(store), Arc::new(Enclave(1)), Arc::new(AwsDice), false).unwrap();
    let mut journal = opened.journal;
    let mut state = stock_state(0);
    let mut changes = vec![manifest_set("ProductKey"), key_drawn(1)];
    let values = (0..secrets).map(|number| {
        let value = SecretBytes::fill_with(16, |bytes| AwsDice.fill(bytes));
        (
            format!("secret-{number:06}").into(),
            Arc::new(SecretValue::Symmetric(value)),
        )
    });
    changes.push(Change::SecretsGenerated {
        values: values.collect(),
    });
    changes.iter().for_each(|change| state.apply(change));
    journal.commit(&changes, &state).unwrap();
    (journal, state)
}

#[test]
fn what_a_commit_writes_does_not_depend_on_how_much_there_is() {
    let mut written_bytes = Vec::new();
    let mut per_secret = 0;
    for secrets in [1, 1_000, 100_000] {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, mut state) = large(directory.path(), secrets);
        let file = directory.path().join(DATA);
        let before = std::fs::metadata(&file).unwrap().len();
        per_secret = before / secrets as u64;
        commit(&mut journal, &mut state, &[written("secret-000000", 16)]).unwrap();
        written_bytes.push(std::fs::metadata(&file).unwrap().len() - before);
    }
    println!(
        "one secret written beside 1, 1,000 and 100,000: {written_bytes:?} bytes; a secret takes {per_secret} bytes of the file"
    );
    assert!(
        written_bytes
            .iter()
            .all(|bytes| *bytes == written_bytes[0] && *bytes < 300)
    );
    assert!(per_secret <= 80);
}

fn quantile(times: &mut [Duration], of: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * of) as usize]
}

/// Appends of a frame's size, each with an `fdatasync`.
fn raw_syncs(directory: &Path, count: usize) -> Vec<Duration> {
    let mut file = std::fs::File::create(directory.join("raw")).unwrap();
    let times = (0..count).map(|_| {
        let began = Instant::now();
        std::io::Write::write_all(&mut file, &[7; 250]).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    });
    times.collect()
}

#[test]
fn a_checkpoint_of_100_000_secrets_delays_no_reader_and_hardly_a_writer() {
    const SECRETS: usize = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let (journal, mut state) = large(directory.path(), SECRETS);
    let mut journal = journal;
    // As many bytes again in the log, without a `settle`: the checkpoint is due with the first commit below.
    let values = (0..SECRETS).map(|number| {
        let value = SecretBytes::fill_with(24, |bytes| AwsDice.fill(bytes));
        (
            format!("secret-{number:06}").into(),
            Arc::new(SecretValue::Symmetric(value)),
        )
    });
    let change = Change::SecretsGenerated {
        values: values.collect(),
    };
    state.apply(&change);
    journal.commit(&[change], &state).unwrap();
    let length = || std::fs::metadata(directory.path().join(DATA)).unwrap().len();
    let before = length();

    let mut raw = raw_syncs(directory.path(), 300);
    let (keeper, writer) = Keeper::start(state, Box::new(Durable(journal)), |_| ()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let commit_one = |count: u64| {
        let began = Instant::now();
        let changes = vec![counted(count)];
        let decided = keeper.decide(move |_| Ok(Verdict::Decided(Decision { changes, reply: () })));
        runtime.block_on(decided).unwrap().unwrap();
        began.elapsed()
    };
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (mut during, mut reads) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = Vec::new();
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let began = Instant::now();
                let state = keeper.snapshot();
                assert!(state.manifest().is_some());
                drop(state);
                reads.push(began.elapsed());
                std::thread::sleep(Duration::from_micros(200));
            }
            reads
        });
        let began = Instant::now();
        let mut during = vec![commit_one(1)];
        let draft = directory.path().join("checkpoint.new");
        // The checkpoint is in place when the file has become shorter.
        while length() >= before {
            assert!(
                began.elapsed() < Duration::from_secs(120),
                "the checkpoint does not end"
            );
            during.push(commit_one(during.len() as u64 + 1));
        }
        during.push(commit_one(during.len() as u64 + 1));
        assert!(!draft.exists());
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        (during, reader.join().unwrap())
    });
    raw.extend(raw_syncs(directory.path(), 300));
    let commits = during.len() as u64;
    let mut after: Vec<_> = (0..300).map(|count| commit_one(1000 + count)).collect();

    let (raw_half, raw_most) = (quantile(&mut raw, 0.5), quantile(&mut raw, 1.0));
    let (half, most) = (quantile(&mut during, 0.5), quantile(&mut during, 1.0));
    println!(
        "checkpoint of {SECRETS} secrets: {commits} commits meanwhile, p50 {half:?}, p99 {:?}, most {most:?}; \
         without one p50 {:?}, most {:?}; raw fdatasync p50 {raw_half:?}, most {raw_most:?}; \
         reads p50 {:?}, most {:?}",
        quantile(&mut during, 0.99),
        quantile(&mut after, 0.5),
        quantile(&mut after, 1.0),
        quantile(&mut reads, 0.5),
        quantile(&mut reads, 1.0),
    );
    assert!(
        commits > 3,
        "the checkpoint was over before anything else could be written"
    );
    // Unoptimised code seals slowly, and on two processors takes one from the writer.
    let (times, least) = if cfg!(debug_assertions) { (10, 50) } else { (3, 2) };
    assert!(
        most <= raw_most * times + Duration::from_millis(least),
        "{most:?}"
    );
    assert!(
        half <= raw_half * times + Duration::from_millis(least),
        "{half:?}"
    );
    // What a reader does is no call and no wait; what is measured here is the scheduler.
    assert!(
        quantile(&mut reads, 0.99) <= Duration::from_millis(least),
        "a reader waits"
    );
    drop(keeper);
    writer.join().unwrap();
    let opened = open(
        Box::new(FileStore::open(directory.path(), clock).unwrap()),
        Arc::new(Enclave(1)),
        Arc::new(AwsDice),
        false,
    );
    match opened.unwrap().found {
        Found::State(state) => assert_eq!(state.activations("m"), 1299),
        _ => panic!("it does not open"),
    }
}
