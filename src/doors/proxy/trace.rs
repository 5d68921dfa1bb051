//! The trace that a request belongs to, as the upstream learns of it.

use http::HeaderMap;

use crate::http::{TRACEPARENT, TRACESTATE, Trace, is_state};
use crate::telemetry::Spans;

/// Passes on what the client says of its trace if it is right, and with `spans` says which is ours. What is
/// wrong is taken off (Trace Context §3.2.2, §3.3).
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
