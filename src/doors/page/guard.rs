//! The checks of every request, and the headers of every response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, SET_COOKIE, VARY,
};
use http::{HeaderMap, Method};

use super::fault::{Fault, throttled};
use super::form::{LARGE, whole};
use super::login;
use super::state::Page;
use super::view::fault_page;
use super::visit::{Client, Visit};
use crate::auth::{Capability, Denial, Policy, SessionKind, Source, UnixTime};

/// The headers of all responses.
const HEADERS: [(HeaderName, &str); 8] = [
    (
        HeaderName::from_static("content-security-policy"),
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    // Not no-referrer: browsers would send forms with `Origin: null`.
    (HeaderName::from_static("referrer-policy"), "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// Paths without a session.
fn is_public(path: &str) -> bool {
    ["/login", "/link"].contains(&path) || path.starts_with("/assets/")
}

pub(super) async fn guard(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    let (mut response, visit) = answer(&page, request, next).await;
    let fault = response.extensions_mut().remove::<Fault>();
    // The router rejects an id that is none, for instance.
    let is_bare =
        response.status().is_client_error() && !response.headers().contains_key(CACHE_CONTROL);
    let fault = fault.or_else(|| is_bare.then_some(Fault::NOT_FOUND));
    if let Some(fault) = fault {
        let headers = std::mem::take(response.headers_mut());
        response = fault_page(&fault, &page, visit.as_ref());
        // The router names the methods, for instance.
        for (name, value) in &headers {
            if name != CONTENT_LENGTH && name != CONTENT_TYPE {
                response.headers_mut().entry(name).or_insert(value.clone());
            }
        }
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Cookie"));
    response
}

async fn answer(page: &Arc<Page>, request: Request, next: Next) -> (Response, Option<Visit>) {
    let (mut parts, body) = request.into_parts();
    let Some(host) = page.site.host(&parts) else {
        let fault = Fault::new(421, "The admin page is not served under this host.").detail(
            "Open it at the address in admin.origin; if that is not set, at the address of admin.listen, or at \
             localhost with the same port. To use this host, set admin.origin in the configuration. A front proxy \
             must forward Host as it is.",
        );
        return (fault.into_response(), None);
    };
    let is_read = [Method::GET, Method::HEAD].contains(&parts.method);
    if !is_read && (parts.method != Method::POST || !page.site.is_own(host, &parts.headers)) {
        let fault = match parts.method {
            Method::POST => Fault::new(403, "The form is not of this page.").detail(
                "Nothing was changed. Open the page again, and repeat it there. If that does not help, \
                 admin.origin is not the origin that your browser shows.",
            ),
            _ => Fault::WRONG_METHOD,
        };
        return (fault.into_response(), None);
    }
    let source = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let client = Client {
        source: source.map(|ConnectInfo(address)| address.ip()),
        now: UnixTime::from(SystemTime::now()),
        record: parts.extensions.get().cloned().unwrap_or_default(),
    };
    parts.extensions.insert(client.clone());
    let path = parts.uri.path();
    if path.starts_with("/assets/") {
        return (next.run(Request::from_parts(parts, body)).await, None);
    }
    let mut body = body;
    let mut visit = match find_visit(page, client.clone(), &parts.headers).await {
        Ok(visit) => visit,
        Err(fault) => return (fault.into_response(), None),
    };
    if !is_read && visit.is_some() && !is_public(path) {
        // The session may end while the body comes in.
        let again = match whole(page, &parts.headers, body, LARGE).await {
            Ok(bytes) => {
                body = Body::from(bytes);
                let now = UnixTime::from(SystemTime::now());
                find_visit(page, Client { now, ..client }, &parts.headers).await
            }
            Err(fault) => return (fault.into_response(), visit),
        };
        visit = match again {
            Ok(visit) => visit,
            Err(fault) => return (fault.into_response(), None),
        };
    }
    let had_one = visit.is_none() && page.site.has_cookie(&parts.headers);
    let mut response = if visit.is_none() && !is_public(path) {
        login::required(page, &parts, body, had_one).await
    } else {
        if let Some(visit) = &visit {
            parts.extensions.insert(visit.clone());
        }
        next.run(Request::from_parts(parts, body)).await
    };
    // A cookie of a session that has ended would count as a failure with each request.
    if had_one
        && !response.headers().contains_key(SET_COOKIE)
        && let Some(gone) = page.site.set_cookie(None)
    {
        response.headers_mut().insert(SET_COOKIE, gone);
    }
    (response, visit)
}

/// Returns the session of a request; `None` if it has none, or if that has ended.
async fn find_visit(
    page: &Page,
    client: Client,
    headers: &HeaderMap,
) -> Result<Option<Visit>, Fault> {
    let Some(secret) = page.site.secret(headers) else {
        return Ok(None);
    };
    let resumed = page.api.authority.resume(
        (&secret, SessionKind::Session),
        Source::of(client.source),
        &Policy::Capable(Capability::List),
        client.now,
    );
    match resumed.await {
        Ok(permit) => Ok(permit.map(|permit| Visit::new(page, client, permit, secret.id()))),
        Err(Denial::Throttled { retry_after, .. }) => Err(throttled(retry_after)),
        Err(Denial::Unavailable(error)) => {
            tracing::error!(%error, door = "admin", "a session cannot be read");
            Err(Fault::UNAVAILABLE)
        }
        Err(_) => Ok(None),
    }
}
