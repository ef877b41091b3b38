//! Threads that serve the client API and nothing else.
//!
//! Marbles come in crowds, and each takes a processor for some signatures' time: users and probes would wait behind them
//! for a turn on a shared thread. On one of their own it is the operating system that lets them in between.

use std::io;
use std::thread::available_parallelism;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};

/// Flows at a time that take long: beyond them the next ones wait, not the threads.
const LONG_FLOWS: usize = 16;

/// The threads. Dropped, they end when what they do has come to a point where it waits.
pub(crate) struct ClientThreads {
    handle: Handle,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl ClientThreads {
    /// Starts them: one for two processors. A single one wakes no other for each request.
    ///
    /// # Errors
    /// They cannot be started.
    pub fn start() -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads((processors / 2).max(1))
            .max_blocking_threads(LONG_FLOWS)
            .thread_name("client-api")
            .on_thread_start(marblerun_scheduling::short_slices)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Where what is spawned runs on them.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has the connections of a listener served on them.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn take(&self, listener: TcpListener) -> io::Result<TcpListener> {
        let listener = listener.into_std()?;
        let _context = self.handle.enter();
        TcpListener::from_std(listener)
    }
}

impl Drop for ClientThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for a thread is not allowed where futures run.
            runtime.shutdown_background();
        }
    }
}
