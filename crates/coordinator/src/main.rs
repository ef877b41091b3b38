//! The Coordinator's program: reads its configuration, protects the process, runs until it is told to stop.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use marblerun_coordinator::config::{self, Config, Request};
use marblerun_coordinator::observe::telemetry::Telemetry;
use marblerun_coordinator::{assemble, observe, process, tls};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line: Vec<_> = with_causes(&error)
                .lines()
                .map(|line| line.trim().to_owned())
                .collect();
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "marblerun-coordinator: {}", line.join("; "));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, but for those that it has told itself.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn run() -> anyhow::Result<()> {
    // Variables that are not Unicode are none of ours.
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = match config::load(std::env::args_os(), &environment)? {
        Request::Run(config) => config,
        Request::Print(text) => {
            print!("{text}");
            return Ok(());
        }
    };
    process::harden()?;
    process::share_free_memory();
    // Every TLS configuration names its provider; this is for libraries that would look for one.
    let _ = tls::provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(32)
        .on_thread_start(process::give_way)
        .build()
        .context("the runtime cannot be started")?;
    let telemetry = {
        let _context = runtime.enter();
        Telemetry::start(config.logging.collector.as_deref())?
    };
    observe::log::start(&config.logging, config.tee.is_simulated(), &telemetry)?;
    let ended = runtime.block_on(serve(&config));
    // Before the threads end that send what is left.
    telemetry.stop();
    // What was waited for is done. A key of 8192 bits that is still being made for nobody must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut told_to_stop = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let running = tokio::select! {
        running = assemble::start(config) => running?,
        () = told_to_stop() => return Ok(()),
    };
    told_to_stop().await;
    tracing::info!("stopping: finishing what runs");
    running.stop().await;
    tracing::info!(refused = %observe::counts::Summary, "stopped");
    Ok(())
}
