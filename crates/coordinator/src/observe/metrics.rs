//! What is counted and timed of this process (`spec/11`).
//!
//! Whoever does something notes it here, in a few atomic operations; `scrape` makes a text of it when somebody
//! asks. Labels are types of the manifest, paths of known routes, codes and reasons of fixed sets: nobody can make more of
//! them by what he sends, and no number of marbles does.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::events::Events;

/// Names and values of labels.
pub(super) type Labels<const N: usize, V = &'static str> = [(&'static str, V); N];
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Everything that is counted and timed.
pub struct Metrics {
    activations: Family<Labels<1, String>, Counter>,
    activations_success: Family<Labels<1, String>, Counter>,
    /// Those that the two above have.
    types: Mutex<BTreeSet<String>>,
    commit: Histogram,
    quote_verification: Histogram,
    /// Seconds since 1970; 0: unknown.
    collateral_from: AtomicU64,
    writable: AtomicBool,
    grpc_started: Family<Labels<3>, Counter>,
    grpc_handled: Family<Labels<4>, Counter>,
    grpc_received: Family<Labels<3>, Counter>,
    grpc_sent: Family<Labels<3>, Counter>,
    http_requests: Family<Labels<3>, Counter>,
    http_duration: Histograms<2>,
    http_request_size: Histograms<1>,
    http_response_size: Histograms<1>,
    http_in_flight: Family<Labels<1>, Gauge>,
    /// The last activations that succeeded.
    pub events: Events,
}

/// Those of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

/// The one method of the Marble API.
const ACTIVATE: Labels<3> = [
    ("grpc_type", "unary"),
    ("grpc_service", "rpc.Marble"),
    ("grpc_method", "Activate"),
];

impl Metrics {
    fn new() -> Self {
        Self {
            activations: Family::default(),
            activations_success: Family::default(),
            types: Mutex::default(),
            commit: fine_seconds(),
            quote_verification: fine_seconds(),
            collateral_from: AtomicU64::new(0),
            writable: AtomicBool::new(true),
            grpc_started: Family::default(),
            grpc_handled: Family::default(),
            grpc_received: Family::default(),
            grpc_sent: Family::default(),
            http_requests: Family::default(),
            http_duration: Family::new_with_constructor(seconds),
            http_request_size: Family::new_with_constructor(bytes),
            http_response_size: Family::new_with_constructor(bytes),
            http_in_flight: Family::default(),
            events: Events::default(),
        }
    }

    /// These are the types of a manifest that is in force now. Where they are not too many, each has its numbers from the
    /// beginning; the others get theirs when the first marble of the type is let in: strangers, who name types without being
    /// let in, make nothing longer.
    pub fn expect_types<'t>(&self, types: impl ExactSizeIterator<Item = &'t str>) {
        const MOST: usize = 1_000;
        if types.len() <= MOST {
            types.for_each(|marble_type| self.add_type(marble_type));
        }
    }

    fn add_type(&self, marble_type: &str) {
        let labels = [("type", marble_type.to_owned())];
        let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        types.insert(marble_type.to_owned());
        let _ = self.activations.get_or_create(&labels);
        // So that there is a number from the first failure on.
        let _ = self.activations_success.get_or_create(&labels);
    }

    /// A marble asks to be activated. `false`: its type has no numbers yet, so that it is not counted.
    #[must_use]
    pub fn activation_begins(&self, marble_type: &str) -> bool {
        let labels = [("type", marble_type.to_owned())];
        let counter = self.activations.get(&labels);
        counter.is_some_and(|counter| {
            counter.inc();
            true
        })
    }

    /// It was not counted, and is let in: from now on its type, which has to be one of the manifest, has numbers.
    pub fn activation_admitted(&self, marble_type: &str) {
        self.add_type(marble_type);
        let labels = [("type", marble_type.to_owned())];
        self.activations.get_or_create(&labels).inc();
    }

    /// It has been.
    pub fn activation_succeeded(&self, marble_type: &str) {
        let labels = [("type", marble_type.to_owned())];
        self.activations_success.get_or_create(&labels).inc();
    }

    /// Forgets the types that `is_known` does not know: updates may have dropped them.
    pub(super) fn keep_types(&self, is_known: impl Fn(&str) -> bool) {
        let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        types.retain(|marble_type| {
            let known = is_known(marble_type);
            if !known {
                let labels = [("type", marble_type.to_owned())];
                self.activations.remove(&labels);
                self.activations_success.remove(&labels);
            }
            known
        });
    }

    /// Changes were made durable, in this time.
    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// Whether changes can be made durable, as far as was seen.
    pub fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Relaxed);
    }

    /// See [`Self::set_writable`].
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    /// Evidence was verified, whatever came of it, in this time.
    pub fn quote_verified(&self, took: Duration) {
        self.quote_verification.observe(took.as_secs_f64());
    }

    /// The oldest collateral that is relied on was issued at this time.
    pub fn collateral_is_from(&self, issued: SystemTime) {
        let since_epoch = issued.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.collateral_from
            .store(since_epoch.as_secs().max(1), Ordering::Relaxed);
    }

    /// Seconds; not a number if nothing is relied on.
    pub(super) fn collateral_age(&self, now: SystemTime) -> f64 {
        match self.collateral_from.load(Ordering::Relaxed) {
            0 => f64::NAN,
            from => {
                let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                now.as_secs_f64() - from as f64
            }
        }
    }

    /// A request of the Marble API has come.
    pub fn grpc_started(&self) {
        self.grpc_started.get_or_create(&ACTIVATE).inc();
    }

    /// Its message was read.
    pub fn grpc_received(&self) {
        self.grpc_received.get_or_create(&ACTIVATE).inc();
    }

    /// It is answered, with this code of gRPC.
    pub fn grpc_handled(&self, code: tonic::Code) {
        let [kind, service, method] = ACTIVATE;
        let labels = [kind, service, method, ("grpc_code", name_of(code))];
        self.grpc_handled.get_or_create(&labels).inc();
        // An error is sent without a message.
        let sent = self.grpc_sent.get_or_create(&ACTIVATE);
        if code == tonic::Code::Ok {
            sent.inc();
        }
    }

    /// A request of the client API begins.
    pub(super) fn http_begins(&self, path: &'static str, request_size: u64) {
        self.http_in_flight.get_or_create(&[("path", path)]).inc();
        self.http_request_size
            .get_or_create(&[("path", path)])
            .observe(request_size as f64);
    }

    /// It has ended, answered or not.
    pub(super) fn http_ends(&self, path: &'static str) {
        self.http_in_flight.get_or_create(&[("path", path)]).dec();
    }

    /// It was answered.
    pub(super) fn http_answered(&self, path: &'static str, method: &'static str, answer: &Answer) {
        let labels = [("path", path), ("code", answer.code), ("method", method)];
        self.http_requests.get_or_create(&labels).inc();
        self.http_duration
            .get_or_create(&[("path", path), ("method", method)])
            .observe(answer.took.as_secs_f64());
        self.http_response_size
            .get_or_create(&[("path", path)])
            .observe(answer.size as f64);
    }

    /// Registers all of it that is noted here.
    pub(super) fn register(&self, registry: &mut Registry) {
        let activations = "Activations that marbles of a type of the manifest have asked for";
        registry.register(
            "coordinator_marble_activations",
            activations,
            self.activations.clone(),
        );
        registry.register(
            "coordinator_marble_activations_success",
            "Activations that succeeded",
            self.activations_success.clone(),
        );
        registry.register(
            "coordinator_commit_duration_seconds",
            "How long it takes to make changes durable",
            self.commit.clone(),
        );
        registry.register(
            "coordinator_quote_verification_duration_seconds",
            "How long it takes to verify evidence",
            self.quote_verification.clone(),
        );
        let grpc = [
            ("grpc_server_started", "Requests begun", &self.grpc_started),
            (
                "grpc_server_msg_received",
                "Messages received",
                &self.grpc_received,
            ),
            ("grpc_server_msg_sent", "Messages sent", &self.grpc_sent),
        ];
        for (name, help, family) in grpc {
            registry.register(name, format!("{help} of the Marble API"), family.clone());
        }
        let help = "Requests of the Marble API answered, by code";
        registry.register("grpc_server_handled", help, self.grpc_handled.clone());
        let api = "server_client_api_http";
        let help = "Requests of the client API answered";
        registry.register(format!("{api}_request"), help, self.http_requests.clone());
        let help = "How long requests of the client API take to answer";
        let name = format!("{api}_request_duration_histogram_seconds");
        registry.register(name, help, self.http_duration.clone());
        let help = "Announced size of request bodies of the client API";
        let name = format!("{api}_request_size_histogram_bytes");
        registry.register(name, help, self.http_request_size.clone());
        let help = "Size of response bodies of the client API";
        let name = format!("{api}_response_size_histogram_bytes");
        registry.register(name, help, self.http_response_size.clone());
        let help = "Requests of the client API being answered";
        registry.register(
            format!("{api}_in_flight_requests"),
            help,
            self.http_in_flight.clone(),
        );
    }
}

/// How a request of the client API was answered.
pub(super) struct Answer {
    /// The code of HTTP.
    pub code: &'static str,
    pub took: Duration,
    /// Bytes of the body.
    pub size: u64,
}

/// From 0.1 ms to 1.6 s; there is one for each path.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 4.0, 8))
}

/// From 0.05 ms to 3.3 s.
fn fine_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 17))
}

/// From 256 bytes to 64 MiB.
fn bytes() -> Histogram {
    Histogram::new(exponential_buckets(256.0, 8.0, 7))
}

/// The names that other servers of gRPC use.
fn name_of(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_a_manifest_no_longer_has_are_forgotten() {
        let metrics = Metrics::new();
        for marble_type in ["old", "kept"] {
            assert!(!metrics.activation_begins(marble_type));
            metrics.activation_admitted(marble_type);
            metrics.activation_succeeded(marble_type);
        }
        metrics.keep_types(|marble_type| marble_type == "kept");
        let counted = |family: &Family<Labels<1, String>, Counter>, marble_type: &str| {
            let labels = [("type", marble_type.to_owned())];
            family.get(&labels).map(|counter| counter.get())
        };
        for family in [&metrics.activations, &metrics.activations_success] {
            assert_eq!(counted(family, "kept"), Some(1));
            assert_eq!(counted(family, "old"), None);
        }
        assert_eq!(metrics.types.lock().unwrap().len(), 1);
    }

    #[test]
    fn only_who_is_let_in_makes_numbers_of_a_type() {
        let metrics = Metrics::new();
        let many: Vec<String> = (0..1_001).map(|number| format!("m{number}")).collect();
        metrics.expect_types(many.iter().map(String::as_str));
        assert!(!metrics.activation_begins("m0") && metrics.types.lock().unwrap().is_empty());
        metrics.activation_admitted("m0");
        assert!(metrics.activation_begins("m0") && !metrics.activation_begins("m1"));
        assert_eq!(metrics.types.lock().unwrap().len(), 1);
        metrics.expect_types(many.iter().take(1_000).map(String::as_str));
        assert!(metrics.activation_begins("m1") && !metrics.activation_begins("m1000"));
        assert_eq!(metrics.types.lock().unwrap().len(), 1_000);
    }

    #[test]
    fn the_age_of_collateral_is_known_once_it_was_told() {
        let metrics = Metrics::new();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000);
        assert!(metrics.collateral_age(now).is_nan());
        metrics.collateral_is_from(now - Duration::from_secs(90));
        assert!((metrics.collateral_age(now) - 90.0).abs() < 1.0);
    }
}
