//! Makes the load: a number of operations, by workers that each wait for their last answer (closed loop), or at a rate
//! that waits for nobody (open loop).

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, value_parser};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How much load, and how.
#[derive(Args, Clone, Copy)]
pub struct Load {
    /// Operations to measure
    #[arg(short = 'n', long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..=MOST_OPERATIONS))]
    pub count: u64,
    /// Operations before that, which are not measured
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u64).range(0..=MOST_OPERATIONS))]
    pub warm_up: u64,
    /// Workers: operations at a time
    #[arg(short, long, default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Operations a second, begun when their time has come whether or not earlier ones have ended [default: each worker
    /// begins the next when the last has ended]
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Seconds that an operation may take; one that takes longer has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "expected 0.001 to 1000000".to_owned())
}

/// Operations of one run: each leaves its latency in memory.
const MOST_OPERATIONS: u64 = 100_000_000;

/// Open operations of an open loop; a server that falls behind further has failed.
const MOST_OPEN: usize = 20_000;

/// What came of a run.
pub struct Outcome {
    /// How long each operation took, in the order in which they ended. In an open loop from the time it was due.
    pub latencies: Vec<Duration>,
    /// From the first begin to the last end.
    pub elapsed: Duration,
}

/// One kind of operation. A worker makes itself one and uses it again and again.
pub trait Operation: Send + Sync + 'static {
    /// What a worker keeps between operations: a connection, perhaps.
    type Worker: Send + 'static;

    /// A worker's beginning.
    fn worker(&self) -> impl Future<Output = Result<Self::Worker>> + Send;

    /// One operation. Anything but success ends the run.
    fn run(&self, worker: &mut Self::Worker) -> impl Future<Output = Result<()>> + Send;
}

impl Load {
    /// The operations that are not measured.
    pub async fn warm_up<O: Operation>(&self, operation: &Arc<O>) -> Result<()> {
        if self.warm_up > 0 {
            self.closed(operation, self.warm_up, "warming up").await?;
        }
        Ok(())
    }

    /// The measured operations.
    pub async fn measure<O: Operation>(&self, operation: &Arc<O>, what: &str) -> Result<Outcome> {
        match self.rate {
            None => self.closed(operation, self.count, what).await,
            Some(rate) => self.open(operation, rate, what).await,
        }
    }

    /// What `step` comes to, if that is in time.
    async fn in_time<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        match timeout(Duration::from_secs(self.timeout), step).await {
            Ok(done) => done,
            Err(_) => bail!("no answer within {} seconds", self.timeout),
        }
    }

    async fn closed<O: Operation>(&self, operation: &Arc<O>, count: u64, what: &str) -> Result<Outcome> {
        let load = *self;
        let begun = Arc::new(AtomicU64::new(0));
        let progress = Progress::start(what, count);
        let mut workers = JoinSet::new();
        let mut ready = Vec::new();
        for _ in 0..self.concurrency {
            let worker = self.in_time(operation.worker()).await;
            ready.push(worker.context("a worker cannot begin")?);
        }
        let start = Instant::now();
        for mut worker in ready {
            let (operation, begun, done) = (Arc::clone(operation), Arc::clone(&begun), progress.counter());
            workers.spawn(async move {
                let mut latencies = Vec::new();
                while begun.fetch_add(1, Ordering::Relaxed) < count {
                    let began = Instant::now();
                    load.in_time(operation.run(&mut worker)).await?;
                    latencies.push(began.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(latencies)
            });
        }
        let mut latencies = Vec::new();
        while let Some(ended) = workers.join_next().await {
            latencies.extend(ended?.with_context(|| progress.told())?);
        }
        Ok(Outcome {
            latencies,
            elapsed: start.elapsed(),
        })
    }

    async fn open<O: Operation>(&self, operation: &Arc<O>, rate: f64, what: &str) -> Result<Outcome> {
        let load = *self;
        let places = Arc::new(Semaphore::new(MOST_OPEN));
        let progress = Progress::start(what, self.count);
        let mut running = JoinSet::new();
        let mut latencies = Vec::new();
        // Workers that have nothing to do: one is made only where all are busy.
        let first = self.in_time(operation.worker()).await;
        let idle = Arc::new(Mutex::new(vec![first.context("a worker cannot begin")?]));
        let start = Instant::now();
        for index in 0..self.count {
            let due = start + Duration::from_secs_f64(index as f64 / rate);
            until(due).await;
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                bail!("{MOST_OPEN} operations are open: the server does not keep up with {rate} a second");
            };
            let (operation, idle, done) = (Arc::clone(operation), Arc::clone(&idle), progress.counter());
            running.spawn(async move {
                let rested = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut worker = match rested {
                    Some(worker) => worker,
                    None => load.in_time(operation.worker()).await?,
                };
                load.in_time(operation.run(&mut worker)).await?;
                let took = due.elapsed();
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
                drop(place);
                done.fetch_add(1, Ordering::Relaxed);
                anyhow::Ok(took)
            });
            while let Some(ended) = running.try_join_next() {
                latencies.push(ended?.with_context(|| progress.told())?);
            }
        }
        while let Some(ended) = running.join_next().await {
            latencies.push(ended?.with_context(|| progress.told())?);
        }
        Ok(Outcome {
            latencies,
            elapsed: start.elapsed(),
        })
    }
}

/// Waits until this time. The timers of the runtime are up to a millisecond late, which would count as the server's: at
/// the end the thread sleeps itself, which is the main thread, where nothing else runs.
async fn until(due: Instant) {
    const BY_ITSELF: Duration = Duration::from_millis(2);
    if let Some(nearly) = due.checked_sub(BY_ITSELF) {
        tokio::time::sleep_until(nearly.into()).await;
    }
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// Says on a terminal how far it has come.
struct Progress {
    count: u64,
    done: Arc<AtomicU64>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Progress {
    fn start(what: &str, count: u64) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let task = std::io::stderr().is_terminal().then(|| {
            let (what, done) = (what.to_owned(), Arc::clone(&done));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    let done = done.load(Ordering::Relaxed);
                    let bar = "#".repeat((done * 30 / count.max(1)) as usize);
                    // Nobody is left to tell when standard error is gone.
                    let _ = write!(std::io::stderr(), "\r{what} [{bar:<30}] {done}/{count}\x1b[K");
                }
            })
        });
        Self { count, done, task }
    }

    /// For the message of a run that fails.
    fn told(&self) -> String {
        format!(
            "after {} of {} operations",
            self.done.load(Ordering::Relaxed),
            self.count
        )
    }

    fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sleeps, and fails where it is told to.
    struct Sleeper {
        time: Duration,
        fails_at: u64,
        runs: AtomicU64,
    }

    impl Operation for Sleeper {
        type Worker = ();

        async fn worker(&self) -> Result<()> {
            Ok(())
        }

        async fn run(&self, (): &mut ()) -> Result<()> {
            tokio::time::sleep(self.time).await;
            if self.runs.fetch_add(1, Ordering::SeqCst) + 1 == self.fails_at {
                bail!("refused");
            }
            Ok(())
        }
    }

    fn sleeper(millis: u64, fails_at: u64) -> Arc<Sleeper> {
        Arc::new(Sleeper {
            time: Duration::from_millis(millis),
            fails_at,
            runs: AtomicU64::new(0),
        })
    }

    fn load(count: u64, concurrency: u16, rate: Option<f64>) -> Load {
        Load {
            count,
            warm_up: 0,
            concurrency,
            rate,
            timeout: 1,
        }
    }

    #[tokio::test]
    async fn as_many_operations_as_asked_for_by_as_many_workers() {
        let operation = sleeper(10, 0);
        let outcome = load(40, 8, None).measure(&operation, "").await.unwrap();
        assert_eq!(outcome.latencies.len(), 40);
        assert_eq!(operation.runs.load(Ordering::SeqCst), 40);
        assert!(outcome.latencies.iter().all(|latency| latency.as_millis() >= 10));
        assert!(outcome.elapsed.as_millis() >= 50, "{:?}", outcome.elapsed);
    }

    #[tokio::test]
    async fn an_open_loop_waits_for_nobody_and_counts_from_when_it_was_due() {
        let outcome = load(20, 1, Some(200.0))
            .measure(&sleeper(100, 0), "")
            .await
            .unwrap();
        assert_eq!(outcome.latencies.len(), 20);
        // One after the other would take two seconds.
        assert!(
            outcome.elapsed < Duration::from_millis(1000),
            "{:?}",
            outcome.elapsed
        );
        assert!(outcome.latencies.iter().all(|latency| latency.as_millis() >= 100));
    }

    /// Counts its workers.
    #[derive(Default)]
    struct Counted(AtomicU64);

    impl Operation for Counted {
        type Worker = u64;

        async fn worker(&self) -> Result<u64> {
            Ok(self.0.fetch_add(1, Ordering::SeqCst))
        }

        async fn run(&self, _: &mut u64) -> Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_open_loop_uses_its_workers_again() {
        let operation = Arc::new(Counted::default());
        let outcome = load(40, 1, Some(400.0)).measure(&operation, "").await.unwrap();
        assert_eq!(outcome.latencies.len(), 40);
        assert!(operation.0.load(Ordering::SeqCst) < 20);
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_ends_the_run() {
        for rate in [None, Some(1000.0)] {
            let hangs = load(3, 1, rate).measure(&sleeper(60_000, 0), "").await;
            let error = format!("{:#}", hangs.err().unwrap());
            assert_eq!(error, "after 0 of 3 operations: no answer within 1 seconds");
        }
    }

    #[tokio::test]
    async fn a_failure_ends_the_run() {
        for rate in [None, Some(1000.0)] {
            let failed = load(20, 2, rate).measure(&sleeper(1, 7), "").await;
            let error = format!("{:#}", failed.err().unwrap());
            assert!(
                error.starts_with("after ") && error.ends_with(" of 20 operations: refused"),
                "{error}"
            );
        }
        for text in ["0", "-1", "1e-300", "nan", "inf", "x"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(rate("2.5"), Ok(2.5));
    }
}
