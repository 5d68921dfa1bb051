//! Forwards the trace context to the upstream.

use http::HeaderMap;

use crate::http::{TRACEPARENT, TRACESTATE, Trace, is_state};
use crate::telemetry::Spans;

/// Forwards the client's trace context if it is valid, with the span of `spans` as the parent.
/// Removes invalid headers (Trace Context §3.2.2, §3.3).
pub(super) fn pass_on(fields: &mut HeaderMap, spans: Option<&Spans>) {
    let is_right = Trace::read(fields).is_some();
    if !is_right {
        fields.remove(TRACEPARENT);
    }
    if !is_right || !is_state(fields) {
        fields.remove(TRACESTATE);
    }
    if let Some(spans) = spans {
        fields.insert(TRACEPARENT, spans.parent_of_upstream());
    }
}
