//! Keeps rates, and the book of what came of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::report::percentile;

/// An answer takes this long at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// Different failures that are told in words.
const TOLD: usize = 20;
/// Operations a second of one worker: whoever does one in this share of a second keeps up.
const OF_A_WORKER: f64 = 10.0;

/// One kind of load.
pub trait Part: Send + Sync + 'static {
    /// What a worker keeps for the next time, beginning with nothing: a connection, perhaps.
    type Kept: Default + Send + 'static;

    /// Does it once. Answers how long the server took; an unexpected answer is an error.
    fn run(&self, kept: &mut Self::Kept) -> impl Future<Output = Result<Duration>> + Send;
}

/// Runs parts, each at its rate.
pub struct Pace {
    book: Arc<Book>,
    scale: f64,
    only: Vec<String>,
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
}

impl Pace {
    /// `scale` times the rates that are given, and only parts whose names contain one of `only`, if there are any.
    pub fn new(book: &Arc<Book>, scale: f64, only: Vec<String>) -> Self {
        Self {
            book: Arc::clone(book),
            scale: scale.clamp(0.001, 1000.0),
            only,
            stop: watch::Sender::new(false),
            workers: JoinSet::new(),
        }
    }

    /// Begins something that is done `rate` times a second, and takes up to a tenth of a second.
    pub fn add(&mut self, name: &'static str, rate: f64, part: impl Part) {
        self.add_lasting(name, rate, Duration::ZERO, part);
    }

    /// Begins something that is done `rate` times a second, and lasts so long.
    pub fn add_lasting(&mut self, name: &'static str, rate: f64, lasts: Duration, part: impl Part) {
        if !self.only.is_empty() && !self.only.iter().any(|only| name.contains(only)) {
            return;
        }
        let rate = rate * self.scale;
        let workers = (rate * (lasts.as_secs_f64() + 1.0 / OF_A_WORKER)).ceil().max(1.0);
        let pause = Duration::from_secs_f64(workers / rate);
        let part = Arc::new(part);
        for number in 0..workers as u64 {
            let first = pause.mul_f64(number as f64 / workers);
            self.workers.spawn(work(
                name,
                Arc::clone(&part),
                (first, pause),
                Arc::clone(&self.book),
                self.stop.subscribe(),
            ));
        }
    }

    /// Ends all of them; what is under way is finished.
    pub async fn end(mut self) {
        let _ = self.stop.send(true);
        while self.workers.join_next().await.is_some() {}
    }
}

async fn work<P: Part>(
    name: &'static str,
    part: Arc<P>,
    (first, pause): (Duration, Duration),
    book: Arc<Book>,
    mut stop: watch::Receiver<bool>,
) {
    let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + first, pause);
    // What a busy machine does not get done is not made up for: the load would not be steady.
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = P::Kept::default();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            _ = clock.tick() => {}
        }
        let done = tokio::time::timeout(PATIENCE, part.run(&mut kept)).await;
        match done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}"))) {
            Ok(took) => book.done(name, took),
            Err(error) => {
                kept = P::Kept::default();
                book.failed(&format!("{name}: {error:#}"));
            }
        }
    }
}

/// What came of it.
#[derive(Default)]
pub struct Book(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    /// Of the second that runs.
    latencies: BTreeMap<&'static str, Vec<Duration>>,
    failures: u64,
    failed: Vec<String>,
}

/// One kind of load in one second.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// How often it was finished.
    pub done: u64,
    /// Microseconds that half of them took at most.
    p50_micros: u64,
    /// That 99 of 100 took at most.
    p99_micros: u64,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self, name: &'static str, took: Duration) {
        self.pages().latencies.entry(name).or_default().push(took);
    }

    fn failed(&self, what: &str) {
        let mut pages = self.pages();
        pages.failures += 1;
        let what: String = what.chars().take(400).collect();
        if pages.failed.len() < TOLD && !pages.failed.contains(&what) {
            pages.failed.push(what);
        }
    }

    /// How many failures there were, and what the first ones were.
    pub fn failures(&self) -> (u64, Vec<String>) {
        let pages = self.pages();
        (pages.failures, pages.failed.clone())
    }

    /// What was finished since this was last asked.
    pub fn turn(&self) -> BTreeMap<&'static str, Second> {
        let latencies = std::mem::take(&mut self.pages().latencies);
        let second = |mut latencies: Vec<Duration>| {
            latencies.sort_unstable();
            let micros = |share| u64::try_from(percentile(&latencies, share).as_micros()).unwrap_or(u64::MAX);
            Second {
                done: latencies.len() as u64,
                p50_micros: micros(0.5),
                p99_micros: micros(0.99),
            }
        };
        latencies
            .into_iter()
            .map(|(name, latencies)| (name, second(latencies)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Fails each third time.
    #[derive(Default)]
    struct Thirds(AtomicU64);

    impl Part for Thirds {
        type Kept = u64;

        async fn run(&self, kept: &mut u64) -> Result<Duration> {
            *kept += 1;
            if self.0.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
                anyhow::bail!("refused");
            }
            Ok(Duration::from_millis(*kept))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_kept_and_failures_are_told() {
        let book = Arc::new(Book::default());
        let mut pace = Pace::new(&book, 2.0, vec!["thirds".to_owned(), "on".to_owned()]);
        pace.add("left out", 10.0, Thirds::default());
        // A worker each: 3 a second.
        pace.add("thirds", 1.5, Thirds::default());
        pace.add("once", 0.5, Thirds::default());
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        pace.end().await;
        let turn = book.turn();
        let once = turn.get("once").unwrap();
        assert_eq!((once.done, once.p50_micros), (2, 1_000));
        // What was kept is gone after a failure: 1, 2, refused, 1, 2, refused.
        let thirds = turn.get("thirds").unwrap();
        assert_eq!((thirds.done, thirds.p99_micros), (4, 2_000));
        assert_eq!(book.failures(), (2, vec!["thirds: refused".to_owned()]));
        assert!(book.turn().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_is_a_failure() {
        struct Never;
        impl Part for Never {
            type Kept = ();
            async fn run(&self, (): &mut ()) -> Result<Duration> {
                std::future::pending().await
            }
        }
        let book = Arc::new(Book::default());
        let mut pace = Pace::new(&book, 1.0, Vec::new());
        pace.add("never", 1.0, Never);
        tokio::time::sleep(PATIENCE + Duration::from_millis(10)).await;
        pace.end().await;
        assert!(book.failures().0 >= 1);
    }
}
