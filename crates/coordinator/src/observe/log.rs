//! The log: one line per event on standard error, JSON or text, with the request it belongs to.
//!
//! In simulation every line says so. Secrets cannot get here: their types do not print.

use std::fmt::{self, Write as _};

use marblerun_wire::is_hidden;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{DefaultFields, FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::telemetry::Telemetry;
use crate::config::{LogFormat, Logging};

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` holds no filter directives.
    #[error("RUST_LOG: expected filter directives such as `debug` or `marblerun_coordinator=trace`: {0}")]
    Directives(#[from] tracing_subscriber::filter::ParseError),
    /// Something else in this process logs already.
    #[error("the log is set up already")]
    Taken,
}

/// Sends the events of this process to standard error from now on, and spans where `telemetry` sends them.
///
/// # Errors
/// [`LogError`] for directives that cannot be read, or when called twice.
pub fn start(logging: &Logging, simulation: bool, telemetry: &Telemetry) -> Result<(), LogError> {
    let filter = match &logging.directives {
        Some(directives) => directives.parse::<Targets>()?,
        None => Targets::new().with_default(LevelFilter::WARN).with_target(
            "marblerun_coordinator",
            if logging.debug {
                LevelFilter::DEBUG
            } else {
                LevelFilter::INFO
            },
        ),
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        // Where the log cannot be written, as on a full disk, neither can a complaint about that: it would panic.
        .log_internal_errors(false);
    let result = match logging.format {
        LogFormat::Json => builder
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines { simulation })
            .finish()
            .with(filter)
            .with(telemetry.layer())
            .try_init(),
        LogFormat::Text => builder
            .with_ansi(false)
            .fmt_fields(DefaultFields::new())
            .event_format(TextLines { simulation })
            .finish()
            .with(filter)
            .with(telemetry.layer())
            .try_init(),
    };
    result.map_err(|_| LogError::Taken)
}

/// `{"time", "level", "target", "mode" (in simulation), …fields of the event and of the spans around it}`.
struct JsonLines {
    simulation: bool,
}

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        writer.write_str("{\"time\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(
            writer,
            "\",\"level\":\"{}\",\"target\":\"{}\"",
            metadata.level(),
            metadata.target()
        )?;
        if self.simulation {
            writer.write_str(",\"mode\":\"SIMULATION\"")?;
        }
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        write_members(&mut writer, &fields)?;
        for_each_span(context, |fields| write_members(&mut writer, fields))?;
        writer.write_str("}\n")
    }
}

/// Adds the members of a JSON object to the one being written.
fn write_members(writer: &mut Writer<'_>, object: &str) -> fmt::Result {
    match object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(members) if !members.is_empty() => {
            writer.write_char(',')?;
            // What has to be escaped in JSON is; what terminals obey and readers of lines take for an end is more.
            write_visibly(writer, members, |writer, hidden| {
                write!(writer, "\\u{:04x}", u32::from(hidden))
            })
        }
        _ => Ok(()),
    }
}

/// Writes text, and what is not to be seen in it in the way of `escape`.
fn write_visibly(
    writer: &mut Writer<'_>,
    text: &str,
    escape: impl Fn(&mut Writer<'_>, char) -> fmt::Result,
) -> fmt::Result {
    let mut rest = text;
    while let Some((at, hidden)) = rest.char_indices().find(|(_, character)| is_hidden(*character)) {
        writer.write_str(rest.get(..at).unwrap_or_default())?;
        escape(writer, hidden)?;
        rest = rest.get(at + hidden.len_utf8()..).unwrap_or_default();
    }
    writer.write_str(rest)
}

/// `time LEVEL [SIMULATION] target: message field=value request=…`
struct TextLines {
    simulation: bool,
}

impl<S> FormatEvent<S, DefaultFields> for TextLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        SystemTime.format_time(&mut writer)?;
        let mode = if self.simulation { " SIMULATION" } else { "" };
        write!(writer, " {:>5}{mode} {}: ", metadata.level(), metadata.target())?;
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        for_each_span(context, |more| write!(fields, " {more}"))?;
        // One event, one line: whatever a peer sent must not begin a new one.
        write_visibly(&mut writer, &fields, |writer, hidden| {
            write!(writer, "{}", hidden.escape_default())
        })?;
        writer.write_char('\n')
    }
}

fn for_each_span<S, N>(
    context: &FmtContext<'_, S, N>,
    mut write: impl FnMut(&str) -> fmt::Result,
) -> fmt::Result
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    let Some(scope) = context.event_scope() else {
        return Ok(());
    };
    for span in scope.from_root() {
        if let Some(fields) = span
            .extensions()
            .get::<FormattedFields<N>>()
            .filter(|fields| !fields.is_empty())
        {
            write(fields)?;
        }
    }
    Ok(())
}
