//! The parts of a request that routes match.

use std::net::IpAddr;

use http::Method;

use super::target::{Ambiguity, Target, host_of, is_plain_method};

/// The host, method and path of a request. Every door matches the same parts, read in the same way.
#[derive(Debug)]
pub(crate) struct MatchInput<'a> {
    /// The host without port, in any case; `None` for an HTTP/1.0 request without a host.
    pub(crate) host: Option<&'a str>,
    pub(crate) method: Method,
    pub(crate) target: Target<'a>,
    /// The address of the client, canonical; `None` if no trusted party has named it.
    pub(crate) client: Option<IpAddr>,
}

/// Why a request cannot be matched: the first part that programs do not all read alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Host,
    Method,
    Trace,
    Connect,
    Path(Ambiguity),
}

impl<'a> MatchInput<'a> {
    /// Reads the parts of a request, whose client is unknown. `host` may have a port. `path` is undecoded and has no query.
    ///
    /// # Errors
    /// [`Unreadable`]. TRACE and CONNECT are rejected too: TRACE would return the headers that a
    /// gateway adds (RFC 9110 §9.3.8), and CONNECT has no path (§9.3.6).
    pub(crate) fn read(
        host: Option<&'a str>,
        method: &Method,
        path: &'a [u8],
    ) -> Result<Self, Unreadable> {
        let host = match host {
            Some(host) => Some(host_of(host).ok_or(Unreadable::Host)?),
            None => None,
        };
        match *method {
            Method::TRACE => return Err(Unreadable::Trace),
            Method::CONNECT => return Err(Unreadable::Connect),
            _ if !is_plain_method(method.as_str()) => return Err(Unreadable::Method),
            _ => {}
        }
        Ok(Self {
            host,
            method: method.clone(),
            target: Target::read(path).map_err(Unreadable::Path)?,
            client: None,
        })
    }
}
