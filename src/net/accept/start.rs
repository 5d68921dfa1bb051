//! What begins a connection, or keeps it from beginning.

use thiserror::Error;

/// The version of HTTP that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    /// 1.0 or 1.1, as each request says.
    One,
    /// 2.
    Two,
}

/// Why a connection ends before HTTP begins. For the log.
#[derive(Debug, Error)]
pub(crate) enum BadStart {
    /// A PROXY protocol header had to come and did not.
    #[error("no PROXY protocol header")]
    NoProxyHeader,
    /// It ended, or failed.
    #[error("the connection ended")]
    Gone,
    /// No agreement on TLS.
    #[error("no TLS: {0}")]
    Tls(Box<pingora::Error>),
}
