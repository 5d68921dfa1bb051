use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::request_line::RequestLine;
use super::spans::Spans;
use crate::http::Trace;

/// A request that has its response, for the access log and traces.
pub struct Request<'a> {
    /// The id.
    pub id: &'a str,
    /// When its header was complete.
    pub began: SystemTime,
    /// The time from there to the end of the response.
    pub took: Duration,
    /// Method, host and path.
    pub request_line: RequestLine<'a>,
    /// The status of the response; `None` if there was no response.
    pub status: Option<u16>,
    /// The address of the other end of the connection.
    pub client: Option<SocketAddr>,
    /// The length of the request body in bytes.
    pub bytes_in: u64,
    /// The length of the response body in bytes.
    pub bytes_out: u64,
    /// The peer that it was forwarded to.
    pub forwarded: Option<Forwarded<'a>>,
    /// The trace context in the request.
    pub trace: Option<Trace>,
    /// The spans, if it is traced.
    pub spans: Option<Spans>,
}

/// The peer that a request was forwarded to.
#[derive(Clone, Copy)]
pub struct Forwarded<'a> {
    /// The name of the upstream.
    pub upstream: &'a str,
    /// The address of the peer.
    pub peer: &'a dyn Display,
    /// The time to the header of its response; `None` if there was no response.
    pub took: Option<Duration>,
}
