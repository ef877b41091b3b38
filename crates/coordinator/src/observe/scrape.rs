//! The text of all metrics, in the two forms that scrapers take.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use marblerun_core::flow::activate;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::counts;
use super::metrics::metrics;
use crate::service::Service;

/// Makes the text.
pub(super) struct Scrape {
    registry: Registry,
    service: Service,
}

impl Scrape {
    /// Of the Coordinator behind `service`. `state` is the file of its state, if it has one.
    pub fn new(service: Service, state: PathBuf, simulated: bool) -> Self {
        let mode = simulated.then(|| ("mode".into(), "SIMULATION".into()));
        let mut registry = Registry::with_labels(mode.into_iter());
        registry.register(
            "coordinator_version",
            "What runs",
            Info::new([
                ("version", env!("CARGO_PKG_VERSION")),
                ("commit", option_env!("MARBLERUN_COMMIT").unwrap_or("unknown")),
            ]),
        );
        metrics().register(&mut registry);
        registry.register_collector(Box::new(Now {
            service: service.clone(),
            state,
        }));
        Self { registry, service }
    }

    /// OpenMetrics 1.0.
    pub fn openmetrics(&self) -> Result<String, fmt::Error> {
        let state = self.service.snapshot();
        metrics().keep_types(|marble_type| activate::examine(&state, marble_type).is_ok());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// The older text format of Prometheus, version 0.0.4: the same samples, counters and infos declared by the names of
    /// their samples, and nothing at the end.
    pub fn prometheus(&self) -> Result<String, fmt::Error> {
        Ok(as_prometheus(&self.openmetrics()?))
    }
}

fn as_prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        // HELP stands before TYPE, which says how the name goes on.
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        let declared = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '));
        let Some((name, kind)) = declared else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            other => ("", other),
        };
        if let Some((_, help)) = help.take() {
            text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
        }
        text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
    }
    text
}

/// What is looked up when it is asked for.
struct Now {
    service: Service,
    state: PathBuf,
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let phase = self.service.snapshot().phase().code();
        let bytes = std::fs::metadata(&self.state).map_or(0, |file| file.len());
        let gauges = [
            (
                "coordinator_state",
                "Phase: 1 recovery, 2 accepting a manifest, 3 accepting marbles",
                f64::from(phase),
            ),
            (
                "coordinator_state_bytes",
                "Size of the sealed state",
                bytes as f64,
            ),
            (
                "coordinator_collateral_age_seconds",
                "Age of the oldest collateral that is relied on, NaN if none is",
                metrics().collateral_age(SystemTime::now()),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        let help = "Requests refused, by reason";
        let mut family =
            encoder.encode_descriptor("coordinator_refusals", help, None, MetricType::Counter)?;
        for (reason, count) in counts::all() {
            let labels = [("reason", reason)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_infos_are_declared_by_the_names_of_their_samples() {
        let openmetrics = "# HELP a Counted.\n# TYPE a counter\na_total{x=\"# EOF\"} 3\n# HELP v What.\n# TYPE v info\nv_info{a=\"b\"} 1\n# HELP g G.\n# TYPE g gauge\n# UNIT g bytes\ng 0\n# EOF\n";
        let expected = "# HELP a_total Counted.\n# TYPE a_total counter\na_total{x=\"# EOF\"} 3\n# HELP v_info What.\n# TYPE v_info gauge\nv_info{a=\"b\"} 1\n# HELP g G.\n# TYPE g gauge\ng 0\n";
        assert_eq!(as_prometheus(openmetrics), expected);
    }
}
