//! Traces: propagation, and export to a collector.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::harness::{Gate, Upstream, field, get, routes, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}\r\n")
}

#[test]
fn right_trace_passes_through_unchanged_and_wrong_ones_are_taken_off() {
    let upstream = Upstream::start();
    let gate = Gate::start(&routes(upstream.address));
    let good = traceparent("01");
    let (parent, state) = ("traceparent", "tracestate");
    let cases = [
        (format!("{good}tracestate: a=1,b=2\r\n"), true, true),
        (format!("{good}tracestate: nonsense\r\n"), true, false),
        (good.to_uppercase() + "tracestate: a=1\r\n", false, false),
        (format!("{good}{good}tracestate: a=1\r\n"), false, false),
        ("tracestate: a=1\r\n".to_owned(), false, false),
        (String::new(), false, false),
    ];
    for (at, (fields, has_parent, has_state)) in cases.iter().enumerate() {
        assert_eq!(get(gate.gateway, "/public", fields).status, 200);
        let seen = &upstream.seen()[at];
        let expected = format!("00-{TRACE}-{PARENT}-01");
        assert_eq!(
            field(seen, parent),
            has_parent.then_some(&*expected),
            "{fields}"
        );
        assert_eq!(field(seen, state).is_some(), *has_state, "{fields}");
    }
}

/// A collector that stores the spans.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    instances: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    /// Returns the received spans.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for sent in request.into_inner().resource_spans {
            let attributes = sent.resource.map(|it| it.attributes).unwrap_or_default();
            let instance = string(&attributes, "service.instance.id").unwrap_or_default();
            self.instances.lock().unwrap().push(instance.to_owned());
            let spans = sent.scope_spans.into_iter().flat_map(|it| it.spans);
            self.spans.lock().unwrap().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector that runs until the second value is dropped, and the settings that send traces to
/// it.
pub(crate) fn collector() -> (Collector, tokio::runtime::Runtime, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let collector = Collector::default();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(collector.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    runtime.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (collector, runtime, endpoint)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    string(&span.attributes, key)
}

fn string<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|it| it.key == key)?;
    match value.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn collector_gets_a_span_for_request_decision_and_upstream() {
    let (collector, _runtime, endpoint) = collector();
    let upstream = Upstream::start();
    let environment = [
        ("REALMGATE_OTLP_ENDPOINT", &*endpoint),
        ("REALMGATE_SERVER_NODE", "gate-1"),
    ];
    let gate = Gate::start_with(&environment, &routes(upstream.address));
    let caller = gate.register("canary-name", "payments");
    let fields = format!(
        "{}{}tracestate: a=1\r\n",
        caller.fields(),
        traceparent("01")
    );
    get(gate.gateway, "/x/y?canary", &fields);
    until("three spans", || collector.spans().len() >= 3);
    assert_eq!(collector.instances.lock().unwrap()[0], "gate-1");
    let spans = collector.spans();
    let of = |kind: SpanKind| spans.iter().find(|it| it.kind == kind as i32).unwrap();
    let (server, client) = (of(SpanKind::Server), of(SpanKind::Client));
    let decision = of(SpanKind::Internal);
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    assert_eq!(hex(&server.parent_span_id), PARENT);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!(decision.parent_span_id, server.span_id);
    assert_eq!(server.name, "GET all");
    assert_eq!(text(server, "url.path"), Some("/x/y"));
    assert_eq!(text(decision, "realmgate.decision"), Some("permitted"));
    assert_eq!(text(client, "realmgate.upstream"), Some("app"));
    // The upstream's span is a child of the request to it.
    let seen = &upstream.seen()[0];
    let expected = format!("00-{TRACE}-{}-01", hex(&client.span_id));
    assert_eq!(field(seen, "traceparent"), Some(&*expected));
    assert_eq!(field(seen, "tracestate"), Some("a=1"));
    assert!(!format!("{spans:?}").contains("canary"));
}

#[test]
fn trace_begins_here_where_none_came_and_one_that_is_not_recorded_stays_so() {
    let (collector, _runtime, endpoint) = collector();
    let upstream = Upstream::start();
    let environment = [("REALMGATE_OTLP_ENDPOINT", &*endpoint)];
    let gate = Gate::start_with(&environment, &routes(upstream.address));
    get(gate.gateway, "/public", &traceparent("00"));
    get(gate.gateway, "/public", "");
    let seen = upstream.seen();
    let unrecorded = field(&seen[0], "traceparent").unwrap();
    assert!(
        unrecorded.starts_with(&format!("00-{TRACE}-")),
        "{unrecorded}"
    );
    assert!(unrecorded.ends_with("-00") && !unrecorded.contains(PARENT));
    let begun = field(&seen[1], "traceparent").unwrap().to_owned();
    assert!(begun.ends_with("-01"), "{begun}");
    // Queued spans are sent before the process ends.
    gate.signal("TERM");
    until("spans", || collector.spans().len() >= 3);
    let spans = collector.spans();
    assert!(
        spans.iter().all(|it| begun.contains(&hex(&it.trace_id))),
        "{begun} {spans:?}"
    );
}

#[test]
fn collector_that_is_away_harms_no_request_and_is_counted() {
    let nobody = crate::harness::port::Port::reserve();
    let upstream = Upstream::start();
    let endpoint = format!("http://{}", nobody.address);
    let environment = [("REALMGATE_OTLP_ENDPOINT", &*endpoint)];
    let gate = Gate::start_with(&environment, &routes(upstream.address));
    assert_eq!(get(gate.gateway, "/public", "").status, 200);
    let metric = "realmgate_trace_spans_total{outcome=\"failed\"} 3";
    until("failures", || {
        get(gate.metrics(), "/metrics", "").body.contains(metric)
    });
    assert_eq!(get(gate.gateway, "/public", "").status, 200);
}
