//! realmgate's own endpoints on the proxy's listener (`gateway.serve_api`): a session of Pingora's becomes a request of
//! theirs, and their response is written to it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Version};
use http_body_util::BodyExt;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use tokio::time::timeout;

use crate::doors::endpoints::{Endpoints, is_public, is_rest};
use crate::net::accept::scheme_of;
use crate::net::face::{Asked, Body, BodyError, Interim, Peer};
use crate::net::linger::end_early;
use crate::net::peer_of;
use crate::net::settings::Settings;
use crate::telemetry::RequestRecord;

/// Answers a request if it is for one of realmgate's own endpoints. Says whether it was.
///
/// # Errors
/// The client is gone, or the response broke off.
pub(super) async fn answer(
    endpoints: &Endpoints,
    session: &mut ServerSession,
    settings: &Settings,
    record: &mut RequestRecord,
) -> Result<bool> {
    let path = session.req_header().uri.path();
    if !is_public(path) {
        return Ok(false);
    }
    let body = match is_rest(path) {
        true => read_body(session, settings).await,
        false => Body::whole(Bytes::new()),
    };
    let header = session.req_header();
    let is_head = header.method == Method::HEAD;
    let mut parts = Request::new(()).into_parts().0;
    parts.method = header.method.clone();
    parts.uri = header.uri.clone();
    parts.version = header.version;
    parts.headers = header.headers.clone();
    let mut asked = Asked {
        parts,
        target: Some(Bytes::copy_from_slice(&target_of(session))),
        body,
        peer: Arc::new(Peer {
            address: peer_of(session),
            is_tls: scheme_of(session) == "https",
            certificate: None,
        }),
        interim: Interim::none(),
        entered: None,
    };
    let (mut parts, mut reply) = endpoints.answer(&mut asked, record).await.into_parts();
    let closes = parts.headers.remove(CONNECTION).is_some();
    if closes {
        session.set_keepalive(None);
    }
    if !parts.headers.contains_key(CONTENT_LENGTH) && !is_head {
        match (reply.exact_size(), session.req_header().version) {
            (Some(_), _) | (None, Version::HTTP_2) => {}
            (None, Version::HTTP_11) => {
                let chunked = HeaderValue::from_static("chunked");
                parts.headers.insert(TRANSFER_ENCODING, chunked);
            }
            // Who knows no chunks takes the end of the connection for the end of the body.
            (None, _) => session.set_keepalive(None),
        }
    }
    let is_empty = is_head || reply.exact_size() == Some(0);
    let header = Box::new(ResponseHeader::from(parts));
    session.write_response_header(header).await?;
    if !is_empty {
        while let Some(frame) = reply.frame().await {
            let broken = |error| Error::because(ErrorType::InternalError, "a response", error);
            if let Ok(part) = frame.map_err(broken)?.into_data() {
                session.write_response_body(part, false).await?;
            }
        }
        session.write_response_body(Bytes::new(), true).await?;
    }
    if closes {
        end_early(session, settings).await;
    }
    Ok(true)
}

/// Returns the request target as it came.
fn target_of(session: &ServerSession) -> Vec<u8> {
    let Some(http1) = session.as_http1() else {
        return session.req_header().raw_path().to_vec();
    };
    let head = http1.get_headers_raw_bytes();
    let line = head.split(|&byte| byte == b'\n').next();
    let mut words = line.unwrap_or_default().split(|&byte| byte == b' ');
    words.nth(1).unwrap_or_default().to_vec()
}

/// Reads a body, or a little more of it than is allowed.
async fn read_body(session: &mut ServerSession, settings: &Settings) -> Body {
    let most = settings.limits.body_bytes;
    let header = session.req_header();
    let announced = header.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Body::whole(Bytes::new());
    }
    let keep_alive = session.get_keepalive();
    // Who speaks HTTP/1.0 does not know it (RFC 9110 §10.1.1).
    if header.version != Version::HTTP_10
        && header.headers.contains_key(EXPECT)
        && session.write_continue_response().await.is_err()
    {
        return Body::failed(BodyError::Broken);
    }
    let mut body = BytesMut::new();
    let reading = async {
        while let Some(part) = session.read_request_body().await? {
            body.extend_from_slice(&part);
            if body.len() > most {
                break;
            }
        }
        Ok::<_, Box<Error>>(())
    };
    match timeout(settings.timeouts.body, reading).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Body::failed(BodyError::Broken),
        Err(_) => return Body::failed(BodyError::Slow),
    }
    // `100 Continue` marks the connection for closing; the body is read, so it can live on.
    if keep_alive.is_some() && body.len() <= most {
        session.set_keepalive(Some(settings.timeouts.keep_alive.as_secs()));
    }
    Body::whole(body.freeze())
}
