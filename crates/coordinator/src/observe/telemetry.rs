//! Requests as spans for an OpenTelemetry collector, over OTLP (feature `opentelemetry`).
//!
//! What is sent is what the log holds of a request, and no secret gets there either. Spans wait in a queue of fixed length:
//! where the collector does not keep up, or is not there, they are dropped. Trace contexts that strangers send are not taken.

use http::Method;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// Spans could not be sent as configured.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be sent to the OpenTelemetry collector: {0}")]
pub struct TelemetryError(String);

#[cfg(not(feature = "opentelemetry"))]
mod sending {
    use super::*;

    /// Nothing is sent.
    #[derive(Default)]
    pub struct Telemetry;

    impl Telemetry {
        pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
        where
            S: tracing::Subscriber + for<'lookup> LookupSpan<'lookup>,
        {
            None::<tracing_subscriber::layer::Identity>
        }

        /// A collector is not configured where nothing can be sent.
        ///
        /// # Errors
        /// [`TelemetryError`] if it is.
        pub fn start(collector: Option<&str>) -> Result<Self, TelemetryError> {
            match collector {
                None => Ok(Self),
                Some(_) => Err(TelemetryError(
                    "this program was built without the feature `opentelemetry`".to_owned(),
                )),
            }
        }

        /// There is nothing to send.
        pub fn stop(self) {}
    }

    /// Nothing is noted.
    pub(crate) fn request_ended(_: &'static str, _: &Method, _: &str, _: u16, _: &str) {}
}

#[cfg(feature = "opentelemetry")]
mod sending {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use opentelemetry::trace::{Status, TracerProvider as _};
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{
        BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter as Exporter,
    };
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use super::*;

    /// Spans that wait to be sent at most; a further one is dropped.
    const QUEUE: usize = 2048;
    /// Spans that are sent at once.
    const BATCH: usize = 256;
    /// How long the collector may take to answer, and the last spans when the Coordinator stops.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Sends spans as long as it is there.
    #[derive(Default)]
    pub struct Telemetry(Option<SdkTracerProvider>);

    impl Telemetry {
        /// Sends to this collector from now on, `http://host:port`, if there is one. To be called where futures run.
        ///
        /// # Errors
        /// [`TelemetryError`] for an address that is none. Whether anybody is there, the log says later.
        pub fn start(collector: Option<&str>) -> Result<Self, TelemetryError> {
            let Some(collector) = collector else {
                return Ok(Self(None));
            };
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(collector)
                .with_timeout(PATIENCE)
                .build()
                .map_err(|error| TelemetryError(error.to_string()))?;
            let watched = Watched {
                inner: exporter,
                failing: AtomicBool::new(false),
            };
            let batches = BatchConfigBuilder::default()
                .with_max_queue_size(QUEUE)
                .with_max_export_batch_size(BATCH)
                .build();
            let processor = BatchSpanProcessor::builder(watched)
                .with_batch_config(batches)
                .build();
            let resource = Resource::builder_empty()
                .with_service_name("marblerun-coordinator")
                .build();
            let provider = SdkTracerProvider::builder()
                .with_span_processor(processor)
                .with_resource(resource)
                .build();
            Ok(Self(Some(provider)))
        }

        pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
        where
            S: tracing::Subscriber + for<'lookup> LookupSpan<'lookup>,
        {
            let tracer = self.0.as_ref()?.tracer("marblerun-coordinator");
            let layer = tracing_opentelemetry::layer().with_tracer(tracer);
            Some(layer.with_location(false).with_threads(false))
        }

        /// Sends the last spans, while futures still run elsewhere; waits at most 5 seconds.
        pub fn stop(self) {
            if let Some(provider) = self.0 {
                // What cannot be sent in time is lost; the log has it.
                let _ = provider.shutdown_with_timeout(PATIENCE);
            }
        }
    }

    /// Notes of the request whose span this is how it ended: the API, its method and path, HTTP and gRPC status. Names are
    /// those of OpenTelemetry's semantic conventions.
    pub(crate) fn request_ended(api: &'static str, method: &Method, path: &str, status: u16, grpc: &str) {
        let span = tracing::Span::current();
        span.set_attribute("marblerun.api", api);
        span.set_attribute("http.response.status_code", i64::from(status));
        // Whatever else strangers ask for is not worth telling apart.
        if let Some(route) = route(path) {
            span.set_attribute("http.request.method", known(method));
            span.set_attribute("http.route", route);
        }
        if grpc != "0" {
            span.set_attribute("rpc.grpc.status_code", grpc.parse().unwrap_or(2_i64));
        }
        if status >= 500 || grpc != "0" {
            span.set_status(Status::error(""));
        }
    }

    /// The name of a method, or what the conventions have for those that are not known.
    fn known(method: &Method) -> &'static str {
        match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::HEAD => "HEAD",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::PATCH => "PATCH",
            Method::OPTIONS => "OPTIONS",
            _ => "_OTHER",
        }
    }

    fn route(path: &str) -> Option<&'static str> {
        use crate::grpc::marble::ACTIVATE;
        let mut routes = marblerun_wire::rest::path::ALL.iter().copied().chain([ACTIVATE]);
        routes.find(|route| *route == path)
    }

    /// Says once that spans cannot be sent, and once that they can again.
    #[derive(Debug)]
    struct Watched {
        inner: SpanExporter,
        failing: AtomicBool,
    }

    impl Exporter for Watched {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let sent = self.inner.export(batch).await;
            match &sent {
                Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                    tracing::warn!(%error, "spans cannot be sent to the OpenTelemetry collector and are dropped");
                }
                Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                    tracing::info!("spans are sent to the OpenTelemetry collector again");
                }
                _ => {}
            }
            sent
        }

        fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
            self.inner.shutdown_with_timeout(timeout)
        }

        fn force_flush(&self) -> OTelSdkResult {
            self.inner.force_flush()
        }

        fn set_resource(&mut self, resource: &Resource) {
            self.inner.set_resource(resource);
        }
    }
}

pub use sending::Telemetry;
pub(crate) use sending::request_ended;
