//! The result of beginning a connection.

use thiserror::Error;

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    /// HTTP/1.0 or 1.1; each request names its version.
    One,
    /// HTTP/2.
    Two,
}

/// Why a connection ends before HTTP begins. For the log only.
#[derive(Debug, Error)]
pub(crate) enum BadStart {
    /// The required PROXY protocol header is missing.
    #[error("no PROXY protocol header")]
    NoProxyHeader,
    /// HTTP without TLS on a listener with TLS.
    #[error("HTTP without TLS")]
    PlainHttp,
    /// The connection was closed, or failed.
    #[error("the connection ended")]
    Gone,
    /// The TLS handshake failed.
    #[error("no TLS: {0}")]
    Tls(String),
}
