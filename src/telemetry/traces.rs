//! Traces for OpenTelemetry, over OTLP (gRPC): one span for a request, one for its decision and one for its
//! upstream.
//!
//! Spans are made after the response and queued for a thread that exports them. A full queue drops them; no
//! request waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::door::Door;
use super::record::RequestRecord;
use super::request::Request;
use super::spans::Spans;
use crate::config::Otlp;
use crate::metrics::Registry;

/// The maximum number of queued spans.
const WAITING: usize = 8192;
/// The maximum number of spans per export.
const AT_A_TIME: usize = 512;
/// The interval between exports.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// How long a shutdown waits for the last export.
const LAST: Duration = Duration::from_secs(2);

/// Exports spans. Off until [`Tracer::start`].
pub(super) struct Tracer {
    sending: ArcSwapOption<Sending>,
    is_on: AtomicBool,
    spans: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The exporter, and which requests are traced.
struct Sending {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    one_in: u64,
    count: AtomicU64,
}

impl Tracer {
    /// Makes a tracer that is off, and registers its metric.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let spans = Family::<Outcome, Counter>::default();
        for outcome in ["sent", "failed"] {
            drop(spans.get_or_create(&Outcome { outcome }));
        }
        Self {
            sending: ArcSwapOption::empty(),
            is_on: AtomicBool::new(false),
            spans: registry.register(
                "trace_spans",
                "Spans exported to the trace collector, by outcome",
                spans,
            ),
        }
    }

    /// Returns whether requests are traced.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Exports spans from now on. Must be called within a runtime.
    ///
    /// # Errors
    /// The exporter cannot be made.
    pub(super) fn start(&self, otlp: &Otlp, node: &str) -> Result<(), ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&otlp.endpoint)
            .with_timeout(otlp.timeout)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(AT_A_TIME)
            .with_scheduled_delay(SEND_EVERY);
        let counting = Counting {
            exporter,
            spans: self.spans.clone(),
        };
        let mut processor = BatchSpanProcessor::builder(counting)
            .with_batch_config(batches.build())
            .build();
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder_empty()
            .with_service_name("realmgate")
            .with_attributes([
                version,
                KeyValue::new("service.instance.id", node.to_owned()),
            ]);
        processor.set_resource(&resource.build());
        self.sending.store(Some(Arc::new(Sending {
            processor,
            scope: InstrumentationScope::builder("realmgate").build(),
            one_in: otlp.one_in,
            count: AtomicU64::new(0),
        })));
        self.is_on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Exports the waiting spans, and no others after that. Must not be called from a task.
    pub(super) fn end(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        if let Some(sending) = self.sending.swap(None)
            && let Err(error) = sending.processor.shutdown_with_timeout(LAST)
        {
            tracing::warn!(%error, "cannot send the last spans");
        }
    }

    /// Makes the spans of a request; none while the tracer is off.
    pub(super) fn begin(&self, headers: &HeaderMap) -> Option<Spans> {
        if !self.is_on() {
            return None;
        }
        let sending = self.sending.load();
        let sending = sending.as_ref()?;
        Spans::new(headers, || sending.is_chosen())
    }

    /// Exports the spans of a request that has its response, if its trace is recorded.
    pub(super) fn send(&self, request: &Request<'_>, record: &RequestRecord) {
        let sending = self.sending.load();
        if let (Some(sending), Some(spans)) = (sending.as_ref(), request.spans)
            && spans.trace.is_sampled
        {
            sending.send(&spans, request, record);
        }
    }
}

impl Sending {
    /// Returns whether a new trace is recorded.
    fn is_chosen(&self) -> bool {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        count.is_multiple_of(self.one_in)
    }

    fn send(&self, spans: &Spans, request: &Request<'_>, record: &RequestRecord) {
        let began = request.began;
        let decided = began + record.took().unwrap_or_default();
        let text = |key, value: Option<&str>| Some(KeyValue::new(key, value?.to_owned()));
        let number = |key, value: u64| Some(KeyValue::new(key, i64::try_from(value).ok()?));
        let failed = request.status.is_none_or(|status| status >= 500);
        let (method, path) = (request.request_line.method(), request.request_line.path());
        let method = method.as_deref().unwrap_or_default();
        let place = record.route().or(record.door().map(Door::as_str));
        let mut all = vec![SpanData {
            name: format!("{} {}", method, place.unwrap_or("-")).into(),
            span_kind: SpanKind::Server,
            parent_span_id: spans
                .trace
                .parent
                .map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: spans.trace.parent.is_some(),
            end_time: began + request.took,
            status: if failed {
                Status::error("")
            } else {
                Status::Unset
            },
            attributes: [
                text("http.request.method", Some(method)),
                text("url.path", path.as_deref()),
                request
                    .status
                    .and_then(|status| number("http.response.status_code", status.into())),
                text(
                    "client.address",
                    request.client.map(|it| it.ip().to_string()).as_deref(),
                ),
                text("realmgate.request", Some(request.id)),
                text("realmgate.door", record.door().map(Door::as_str)),
                text("realmgate.route", record.route()),
                number("http.request.body.size", request.bytes_in),
                number("http.response.body.size", request.bytes_out),
            ]
            .into_iter()
            .flatten()
            .collect(),
            ..self.span(spans, spans.request, began)
        }];
        if record.took().is_some() {
            all.push(SpanData {
                name: "decision".into(),
                end_time: decided,
                attributes: [
                    text("realmgate.decision", record.decision()),
                    text("realmgate.reason", record.reason()),
                    text("realmgate.realm", record.proved_realm()),
                ]
                .into_iter()
                .flatten()
                .collect(),
                ..self.span(spans, other(spans.request), began)
            });
        }
        if let Some(forwarded) = request.forwarded {
            let peer = forwarded.peer.to_string();
            all.push(SpanData {
                name: format!("{} {}", method, forwarded.upstream).into(),
                span_kind: SpanKind::Client,
                end_time: forwarded
                    .took
                    .map_or(began + request.took, |took| decided + took),
                status: match forwarded.took {
                    Some(_) => Status::Unset,
                    None => Status::error(""),
                },
                attributes: [
                    text("realmgate.upstream", Some(forwarded.upstream)),
                    text("server.address", Some(&peer)),
                ]
                .into_iter()
                .flatten()
                .collect(),
                ..self.span(spans, spans.upstream, decided)
            });
        }
        for span in all {
            self.processor.on_end(span);
        }
    }

    /// Makes a span below that of the request.
    fn span(&self, spans: &Spans, id: [u8; 8], start_time: std::time::SystemTime) -> SpanData {
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(spans.trace.id),
                SpanId::from_bytes(id),
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: SpanId::from_bytes(spans.request),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "".into(),
            start_time,
            end_time: start_time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// Returns another id, as random as this one.
fn other(id: [u8; 8]) -> [u8; 8] {
    id.map(|byte| !byte)
}

/// Counts exported spans.
struct Counting {
    exporter: SpanExporter,
    spans: Family<Outcome, Counter>,
}

impl opentelemetry_sdk::trace::SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.exporter.export(batch).await;
        let outcome = if sent.is_ok() { "sent" } else { "failed" };
        self.spans.get_or_create(&Outcome { outcome }).inc_by(spans);
        if let Err(error) = &sent {
            tracing::debug!(%error, spans, "the collector did not accept spans");
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exporter.fmt(f)
    }
}
