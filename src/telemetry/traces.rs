//! Traces for OpenTelemetry, over OTLP (gRPC): a span for a request, and one each for its decision and its
//! upstream.
//!
//! Spans are made when the answer has gone, and sent by a thread of its own from a queue with a bound. What
//! finds it full is dropped, and nobody waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

use super::access::Request;
use super::metrics::{Door, metrics};
use super::record::RequestRecord;
use crate::config::Otlp;
use crate::http::Trace;

/// The most spans that wait to be sent.
const WAITING: usize = 8192;
/// The most spans that are sent at a time.
const AT_A_TIME: usize = 512;
/// How often they are sent.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// How long the last are waited for at the end.
const LAST: Duration = Duration::from_secs(2);

/// The spans of a request that is told of.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    trace: Trace,
    request: [u8; 8],
    upstream: [u8; 8],
}

impl Spans {
    /// Begins the spans of a request, in the trace that it belongs to or in one that begins here; none while
    /// traces go nowhere.
    pub fn begin(headers: &HeaderMap) -> Option<Self> {
        let sending = SENDING.load();
        let sending = sending.as_ref()?;
        let mut random = [0; 32];
        // Without random bytes there is nothing to tell spans apart by.
        getrandom::fill(&mut random).ok()?;
        let (id, rest) = random.split_first_chunk()?;
        let (request, rest) = rest.split_first_chunk()?;
        let (upstream, _) = rest.split_first_chunk()?;
        Some(Self {
            trace: Trace::read(headers).unwrap_or_else(|| Trace {
                id: *id,
                parent: None,
                is_sampled: sending.is_chosen(),
            }),
            request: *request,
            upstream: *upstream,
        })
    }

    /// Returns what the upstream is told.
    pub fn parent_of_upstream(&self) -> http::HeaderValue {
        self.trace.parent_of(self.upstream)
    }

    /// Returns the trace.
    pub fn trace(&self) -> Trace {
        self.trace
    }
}

static SENDING: ArcSwapOption<Sending> = ArcSwapOption::const_empty();

/// Where spans go, and which.
struct Sending {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    one_in: u64,
    count: AtomicU64,
}

/// Sends spans from now on. To be called where the event loop is.
pub(super) fn start(otlp: &Otlp) -> Result<(), ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&otlp.endpoint)
        .with_timeout(otlp.timeout)
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(WAITING)
        .with_max_export_batch_size(AT_A_TIME)
        .with_scheduled_delay(SEND_EVERY);
    let mut processor = BatchSpanProcessor::builder(Counting(exporter))
        .with_batch_config(batches.build())
        .build();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder_empty()
        .with_service_name("realmgate")
        .with_attribute(version);
    processor.set_resource(&resource.build());
    SENDING.store(Some(Arc::new(Sending {
        processor,
        scope: InstrumentationScope::builder("realmgate").build(),
        one_in: otlp.one_in,
        count: AtomicU64::new(0),
    })));
    Ok(())
}

/// Sends what waits, and no more. Not to be called from a task.
pub(super) fn end() {
    if let Some(sending) = SENDING.swap(None)
        && let Err(error) = sending.processor.shutdown_with_timeout(LAST)
    {
        tracing::warn!(%error, "cannot send the last spans");
    }
}

/// Sends the spans of a request that has been answered, if its trace is recorded.
pub(super) fn send(request: &Request<'_>, record: &RequestRecord) {
    let sending = SENDING.load();
    if let (Some(sending), Some(spans)) = (sending.as_ref(), request.spans)
        && spans.trace.is_sampled
    {
        sending.send(&spans, request, record);
    }
}

impl Sending {
    /// Says whether a trace that begins here is recorded.
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

/// Counts what is sent.
struct Counting(SpanExporter);

impl opentelemetry_sdk::trace::SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.0.export(batch).await;
        metrics().sent_spans(spans, sent.is_ok());
        if let Err(error) = &sent {
            tracing::debug!(%error, spans, "the collector did not accept spans");
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
