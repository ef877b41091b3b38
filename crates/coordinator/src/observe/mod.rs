//! What the Coordinator tells about itself.

pub mod counts;
mod events;
pub(crate) mod flood;
pub mod log;
pub mod metrics;
pub(crate) mod requests;
mod scrape;
pub mod server;
pub mod telemetry;

/// Logs an event that strangers can cause, at a level that was configured. Where it stands is its kind: of each kind
/// so many lines are written at once and so many a second, with the number of those left out.
macro_rules! at_level {
    ($level:expr, $($event:tt)+) => {{
        static LINES: $crate::observe::flood::Limit = $crate::observe::flood::Limit::new();
        let level = $level;
        if let Some(left_out) = LINES.admit() {
            if left_out > 0 {
                $crate::observe::log_at!(level, left_out, "lines like the next one were left out");
            }
            $crate::observe::log_at!(level, $($event)+);
        }
    }};
}

/// Logs an event at a level that is known when the program runs.
macro_rules! log_at {
    ($level:expr, $($event:tt)+) => {
        match $level {
            $crate::config::LogLevel::Debug => tracing::debug!($($event)+),
            $crate::config::LogLevel::Info => tracing::info!($($event)+),
            $crate::config::LogLevel::Warn => tracing::warn!($($event)+),
            $crate::config::LogLevel::Error => tracing::error!($($event)+),
        }
    };
}

pub(crate) use {at_level, log_at};
