//! `[otlp]`.

use std::time::Duration;

use http::Uri;

use super::raw;
use super::source::{Checked, Source};

/// `[otlp]`: where traces are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The address of the collector for OTLP over gRPC without TLS: `http://`, a host and a port.
    pub endpoint: String,
    /// Record one in this many traces that begin here, 1 to 1,000,000; 1 by default.
    pub one_in: u64,
    /// The maximum wait for the collector; 5 s by default.
    pub timeout: Duration,
}

impl Source<'_> {
    pub(super) fn otlp(&self, raw: &raw::Otlp) -> Checked<Option<Otlp>> {
        let one_in = raw.one_in.as_ref();
        let one_in = self.number("otlp.one_in", one_in, 1, 1..=1_000_000);
        let timeout = self.duration("otlp.timeout", raw.timeout.as_ref(), 5_000);
        let Some(endpoint) = &raw.endpoint else {
            return Ok(None);
        };
        let is_right = endpoint.get_ref().parse().is_ok_and(|uri: Uri| {
            uri.scheme_str() == Some("http")
                && uri.port().is_some()
                && uri.path() == "/"
                && uri.query().is_none()
        });
        if !is_right {
            let expected = r#"the address of a collector such as "http://127.0.0.1:4317""#;
            return Err(self.reject("otlp.endpoint", endpoint, expected));
        }
        Ok(Some(Otlp {
            endpoint: endpoint.get_ref().clone(),
            one_in,
            timeout,
        }))
    }
}
