use http::HeaderMap;

use crate::http::Trace;

/// The ids of the spans of a request.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    pub(super) trace: Trace,
    pub(super) request: [u8; 8],
    pub(super) upstream: [u8; 8],
}

impl Spans {
    /// Makes the spans of a request, in the trace of the request or in a new one. `None` without random bytes,
    /// because the ids would not be unique. `is_sampled` decides whether a new trace is recorded.
    pub(super) fn new(headers: &HeaderMap, is_sampled: impl FnOnce() -> bool) -> Option<Self> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).ok()?;
        let (id, rest) = random.split_first_chunk()?;
        let (request, rest) = rest.split_first_chunk()?;
        let (upstream, _) = rest.split_first_chunk()?;
        Some(Self {
            trace: Trace::read(headers).unwrap_or_else(|| Trace {
                id: *id,
                parent: None,
                is_sampled: is_sampled(),
            }),
            request: *request,
            upstream: *upstream,
        })
    }

    /// Returns the `traceparent` for the upstream.
    pub fn parent_of_upstream(&self) -> http::HeaderValue {
        self.trace.parent_of(self.upstream)
    }

    /// Returns the trace.
    pub fn trace(&self) -> Trace {
        self.trace
    }
}
