use http::StatusCode;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use thiserror::Error;

use super::own_response::OwnResponse;

/// The `Allow` header after TRACE and CONNECT. The upstream may support more methods.
pub(crate) const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Why a request is rejected before its credential is read. The log has the detail; the client gets
/// a short line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Rejection {
    #[error("a header line ends without a carriage return")]
    LineEnding,
    #[error("the body length is ambiguous")]
    Framing,
    #[error("the body has a transfer coding other than chunked")]
    Coding,
    #[error("the request line names another major version than HTTP/1")]
    Version,
    #[error("a header name or value has a character that is not allowed there")]
    Field,
    #[error("the request target is longer than limits.target_bytes")]
    TargetLength,
    #[error("there are more header fields than limits.header_fields")]
    FieldCount,
    #[error("Expect has a value other than 100-continue")]
    Expect,
    #[error("the header is longer than limits.header_bytes")]
    HeaderLength,
    #[error("the address has reached limits.requests_per_address")]
    AddressBusy,
    #[error("limits.requests is reached")]
    Busy,
    #[error("the request line contains no path")]
    NoPath,
    #[error("the host is missing or invalid")]
    Host,
    #[error("the method has lower-case letters, or is longer than 32 characters")]
    Method,
    #[error("TRACE is not allowed: it would return the headers that realmgate adds")]
    Trace,
    #[error("CONNECT is not allowed: it has no path to match a route")]
    Connect,
    #[error("the path is ambiguous: {0}")]
    Path(&'static str),
    #[error("the route does not accept a path with such slashes")]
    Slashes,
    #[error("the path is ambiguous: servers that read it differently match different routes")]
    Readings,
    #[error("no route matches the request")]
    NoRoute,
    #[error("the body is longer than the route's body_bytes")]
    BodyLength,
    #[error("the auth request comes from an address that is not in service.trusted_proxies")]
    Untrusted,
    #[error("the front proxy did not send exactly one {0}")]
    Missing(&'static str),
    #[error("the original {0} is not in the form that a front proxy sends")]
    Malformed(&'static str),
    #[error(
        "the query of the forward-auth URL, or for Envoy X-Realmgate-Narrow or context_extensions, is not a list of \
         realms, at most 16, and of names in them, at most 16"
    )]
    Query,
    #[error(
        "there is no such endpoint; there are /forward-auth, and below it /nginx, /traefik, /caddy, /haproxy and /envoy/…"
    )]
    Endpoint,
}

impl Rejection {
    /// Returns a short, stable code for logs, listed in `docs/reasons.md`.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::LineEnding => "bad_line_ending",
            Self::Framing => "bad_framing",
            Self::Coding => "unknown_coding",
            Self::Version => "bad_version",
            Self::Field => "bad_header",
            Self::TargetLength => "target_too_long",
            Self::FieldCount => "too_many_fields",
            Self::Expect => "bad_expect",
            Self::HeaderLength => "header_too_large",
            Self::AddressBusy => "address_busy",
            Self::Busy => "server_busy",
            Self::NoPath => "bad_target",
            Self::Host => "bad_host",
            Self::Method => "bad_method",
            Self::Trace => "trace",
            Self::Connect => "connect",
            Self::Path(_) | Self::Readings => "ambiguous_path",
            Self::Slashes => "slashes",
            Self::NoRoute => "no_route",
            Self::BodyLength => "body_too_large",
            Self::Untrusted => "untrusted_proxy",
            Self::Missing(_) => "description_missing",
            Self::Malformed(_) => "description_malformed",
            Self::Query => "bad_narrowing",
            Self::Endpoint => "no_endpoint",
        }
    }

    /// Returns the response of a listener. Sub-requests have their own.
    pub(crate) fn response(self) -> OwnResponse {
        use StatusCode as Code;
        let (status, line) = match self {
            Self::LineEnding => (Code::BAD_REQUEST, "bad line ending\n"),
            Self::Framing => (Code::BAD_REQUEST, "bad framing\n"),
            Self::Coding => (Code::NOT_IMPLEMENTED, "unknown transfer coding\n"),
            Self::Version => (
                Code::HTTP_VERSION_NOT_SUPPORTED,
                "unknown version of HTTP\n",
            ),
            Self::Field => (Code::BAD_REQUEST, "bad header\n"),
            Self::TargetLength => (Code::URI_TOO_LONG, "the request target is too long\n"),
            Self::FieldCount => (
                Code::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too many header fields\n",
            ),
            Self::Expect => (Code::EXPECTATION_FAILED, "unknown expectation\n"),
            Self::HeaderLength => (
                Code::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the header is too large\n",
            ),
            Self::AddressBusy => (Code::TOO_MANY_REQUESTS, "too many requests at a time\n"),
            Self::Busy => (Code::SERVICE_UNAVAILABLE, "too many requests under way\n"),
            Self::NoPath => (Code::BAD_REQUEST, "bad request target\n"),
            Self::Host => (Code::BAD_REQUEST, "bad host\n"),
            Self::Method => (Code::BAD_REQUEST, "bad method\n"),
            Self::Trace => (Code::METHOD_NOT_ALLOWED, "no TRACE here\n"),
            Self::Connect => (Code::METHOD_NOT_ALLOWED, "no CONNECT here\n"),
            Self::Path(_) | Self::Readings | Self::Slashes => {
                (Code::BAD_REQUEST, "ambiguous path\n")
            }
            Self::NoRoute => (Code::NOT_FOUND, "no route\n"),
            Self::Endpoint => (Code::NOT_FOUND, "no such endpoint\n"),
            Self::BodyLength => (Code::PAYLOAD_TOO_LARGE, "the body is too large\n"),
            Self::Untrusted | Self::Missing(_) | Self::Malformed(_) | Self::Query => {
                (Code::FORBIDDEN, "not allowed here\n")
            }
        };
        let mut answer = OwnResponse::line(status, line);
        match self {
            Self::Trace | Self::Connect => answer.fields.push((ALLOW, METHODS)),
            Self::AddressBusy | Self::Busy => {
                answer
                    .fields
                    .push((RETRY_AFTER, HeaderValue::from_static("1")));
            }
            _ => {}
        }
        answer
    }
}
