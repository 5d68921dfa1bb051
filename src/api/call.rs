use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use axum::extract::{ConnectInfo, Request};
use http::{HeaderMap, Method};

use super::accept::{format_is_json, takes_json};
use super::body::Body;
use super::wire::Answer;
use crate::auth::UnixTime;

/// A request that has been read: what it asks and from where, but not yet who asks.
pub(super) struct Call {
    /// Its method.
    pub(super) method: Method,
    /// Its header fields.
    pub(super) headers: HeaderMap,
    /// Its body.
    pub(super) body: Body,
    /// The address it comes from.
    pub(super) source: Option<IpAddr>,
    /// When it came.
    pub(super) now: UnixTime,
}

impl Call {
    /// Reads a request.
    ///
    /// # Errors
    /// The answer: 406 or 404 for a format other than JSON, 400 or 415 for its body.
    pub(super) async fn read(request: Request) -> Result<Self, Answer> {
        let (parts, body) = request.into_parts();
        if !format_is_json(parts.uri.query().unwrap_or_default()) {
            return Err(Answer::not_found());
        }
        if !takes_json(&parts.headers) {
            return Err(Answer::not_acceptable());
        }
        // The listener bounds the body before it gets here.
        let bytes = axum::body::to_bytes(body, usize::MAX)
            .await
            .map_err(|_| Answer::parse_error("the body is incomplete"))?;
        let body = Body::parse(&parts.headers, &bytes)?;
        let source = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self {
            method: parts.method,
            headers: parts.headers,
            body,
            source: source.map(|ConnectInfo(address)| address.ip()),
            now: UnixTime::from(SystemTime::now()),
        })
    }
}
