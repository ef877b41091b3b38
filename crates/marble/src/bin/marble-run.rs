//! `marble-run [--] program args…`: gets this marble activated by the Coordinator, then becomes the program.

use std::process::ExitCode;

use marblerun_marble::premain::{self, LogFormat, Surroundings};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

const HELP: &str = "\
Gets this marble activated by the Coordinator, then becomes the program.

Usage: marble-run [--] [program args…]
       marble-run --help | --version

`Argv` of the manifest, where given, wins over the command line.

Environment:
  EDG_MARBLE_TYPE                marble type of the manifest (required)
  EDG_MARBLE_COORDINATOR_ADDR    host:port of the Marble API [localhost:2001]
  EDG_MARBLE_COORDINATOR_ROOT    file with the Coordinator's root certificate, PEM: nobody else
                                 is obeyed
  EDG_MARBLE_DNS_NAMES           names and IP addresses for the certificate [localhost]
  EDG_MARBLE_UUID_FILE           file that keeps the UUID [uuid, in EDG_CWD if set]
  EDG_MARBLE_ACTIVATION_TIMEOUT  how long to try to reach the Coordinator [60s]
  EDG_MARBLE_EVIDENCE_FILE       where to leave the evidence if the marble is not activated, for
                                 `marblerun attest explain`
  OE_SIMULATION                  1: where there is no TEE, send evidence of the software TEE
  EDG_SIMULATED_TEE              sgx, tdx or snp: the same, of this TEE [sgx]
  EDG_SIMULATED_CLAIMS           JSON object with what it claims
  EDG_LOG_FORMAT                 json, else text
  EDG_DEBUG_LOGGING              1 for more

Exit status: that of the program; 1: not activated; 126, 127: the program cannot be started, is not found.
";

fn main() -> ExitCode {
    let surroundings = Surroundings::of_this_process();
    start_logging();
    match surroundings
        .arguments
        .get(1)
        .and_then(|argument| argument.to_str())
    {
        Some("--help" | "-h") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some("--version") => {
            println!("marble-run {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    match premain::prepare(&surroundings) {
        Ok(application) => {
            let error = application.execute();
            tracing::error!("{error}");
            ExitCode::from(error.exit_status())
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(1)
        }
    }
}

/// To standard error. Only our own lines: what libraries log is not ours to vouch for.
fn start_logging() {
    let debug = std::env::var_os("EDG_DEBUG_LOGGING").is_some_and(|value| value == "1");
    let level = if debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    let ours = Targets::new()
        .with_target("marblerun_marble", level)
        .with_target("marble_run", level);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // Where the log cannot be written, neither can a complaint about that: it would panic.
        .log_internal_errors(false);
    let layer = match LogFormat::read(|name| std::env::var_os(name)) {
        LogFormat::Json => lines.json().flatten_event(true).with_filter(ours).boxed(),
        LogFormat::Text => lines.with_filter(ours).boxed(),
    };
    Registry::default().with(layer).init();
}
