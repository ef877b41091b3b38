//! What the Coordinator tells about itself.

pub mod counts;
pub mod log;

/// Logs an event at a level that was configured.
macro_rules! at_level {
    ($level:expr, $($event:tt)+) => {
        match $level {
            $crate::config::LogLevel::Debug => tracing::debug!($($event)+),
            $crate::config::LogLevel::Info => tracing::info!($($event)+),
            $crate::config::LogLevel::Warn => tracing::warn!($($event)+),
            $crate::config::LogLevel::Error => tracing::error!($($event)+),
        }
    };
}

pub(crate) use at_level;
