//! realmgate's own endpoints, on any listener.

use std::sync::Arc;

use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::forward_auth::{ForwardAuth, FrontProxy};
use super::local::Local;
use super::readiness::Readiness;
use crate::http::own_paths;
use crate::http::own_response::OwnResponse;
use crate::http::rejection::Rejection;
use crate::metrics::{Exposition, Registry};
use crate::net::http::{ClientRequest, Reply};
use crate::routing::target::{self, Target};
use crate::telemetry::{Door, RequestRecord};

/// The endpoints that realmgate serves itself.
pub(crate) struct Endpoints {
    pub(crate) forward_auth: Arc<ForwardAuth>,
    pub(crate) rest: Local,
    pub(crate) v1: Local,
    pub(crate) admin: Local,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Registry,
}

impl Endpoints {
    /// Serves any request. Paths without an endpoint go to the REST router. Fills `record` with the
    /// decision.
    pub(crate) async fn handle(
        &self,
        request: &mut ClientRequest,
        record: &mut RequestRecord,
    ) -> Response<Reply> {
        let path = request.parts.uri.path();
        if let Some(proxy) = FrontProxy::of(path) {
            return self.forward_auth.handle(request, proxy, record).await;
        }
        // Boxed, so that auth requests have smaller futures.
        match path {
            "/healthz" => OwnResponse::line(StatusCode::OK, "ok\n").into(),
            "/readyz" => Box::pin(self.readiness()).await.into(),
            path if own_paths::is_below(path, own_paths::FORWARD_AUTH) => {
                self.forward_auth.unknown(request, record);
                let answer = Rejection::Endpoint.response();
                answer.named(record.request_id()).into()
            }
            path if is_v1(path) => Box::pin(self.v1.handle_at_once(request, record)).await,
            _ => self.rest.handle(request, record).await,
        }
    }

    /// Serves a request on the metrics listener: metrics and health, and 404 for everything else.
    pub(crate) async fn handle_monitor(&self, request: &ClientRequest) -> Response<Reply> {
        match request.parts.uri.path() {
            "/metrics" => self.metrics(&request.parts),
            "/healthz" => OwnResponse::line(StatusCode::OK, "ok\n").into(),
            "/readyz" => self.readiness().await.into(),
            _ => {
                let line = "only /metrics, /healthz and /readyz\n";
                OwnResponse::line(StatusCode::NOT_FOUND, line).into()
            }
        }
    }

    /// Responds with the metrics of this process.
    fn metrics(&self, parts: &Parts) -> Response<Reply> {
        if !is_read(&parts.method) {
            return only_reads().into();
        }
        let exposition = exposition(parts.headers.get(ACCEPT));
        let text = match self.metrics.text(exposition) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "cannot write the metrics");
                return OwnResponse::empty(StatusCode::INTERNAL_SERVER_ERROR).into();
            }
        };
        let length = text.len();
        let mut response = Response::new(Reply::whole(text));
        let headers = response.headers_mut();
        let media_type = HeaderValue::from_static(exposition.media_type());
        headers.insert(CONTENT_TYPE, media_type);
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Responds with 200 if this process is ready, else with 503 and the cause.
    async fn readiness(&self) -> OwnResponse {
        match self.readiness.check().await {
            Ok(()) => OwnResponse::line(StatusCode::OK, "ready\n"),
            Err(line) => OwnResponse::line(StatusCode::SERVICE_UNAVAILABLE, line),
        }
    }

    /// Responds like [`Endpoints::readiness`] on the listener for clients, who do not learn the
    /// cause.
    pub(crate) async fn handle_health(&self, request: &ClientRequest) -> OwnResponse {
        if !is_read(&request.parts.method) {
            return only_reads();
        }
        match self.readiness.check().await {
            Ok(()) => OwnResponse::line(StatusCode::OK, "ready\n"),
            Err(_) => OwnResponse::line(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        }
    }
}

fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

fn only_reads() -> OwnResponse {
    let mut answer = OwnResponse::line(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    let allowed = HeaderValue::from_static("GET, HEAD");
    answer.fields.push((ALLOW, allowed));
    answer
}

/// Negotiates the format of metrics: OpenMetrics, unless `Accept` allows text but does not name it.
fn exposition(accept: Option<&HeaderValue>) -> Exposition {
    let accept = accept.and_then(|accept| accept.to_str().ok());
    match accept.unwrap_or_default().to_ascii_lowercase() {
        accept if accept.contains("application/openmetrics-text") => Exposition::OpenMetrics,
        accept if accept.contains("text/plain") => Exposition::Text,
        _ => Exposition::OpenMetrics,
    }
}

/// Returns whether the proxy's listener responds to a path itself, if `gateway.serve_api` is set.
/// These are the endpoints and everything below them. An auth request to a mistyped endpoint must
/// not get the 200 of the application.
pub(super) fn is_public(path: &str) -> bool {
    own_paths::is_public(path)
}

/// Returns whether some server reads a path as one of [`is_public`], in any case of its letters.
pub(super) fn is_like_public(path: &str) -> bool {
    let is_public =
        |reading: &[u8]| own_paths::is_public_in_any_case(&target::in_lower_case(reading));
    // Ambiguous paths without readings are rejected later.
    Target::read(path.as_bytes())
        .is_ok_and(|target| is_public(target.literal()) || target.readings().any(is_public))
}

/// Returns the door at a path of the service listener; none for health and unknown paths.
pub(super) fn door_of(path: &str) -> Option<Door> {
    match FrontProxy::of(path) {
        Some(_) => Some(Door::ForwardAuth),
        None => (is_rest(path) || is_v1(path)).then_some(Door::Rest),
    }
}

/// Returns whether a path is that of a resource of `/v1`. The proxy's listener never serves one.
fn is_v1(path: &str) -> bool {
    own_paths::is_below(path, own_paths::V1)
}

/// Returns whether a path is that of a REST resource, or below one.
pub(super) fn is_rest(path: &str) -> bool {
    own_paths::is_below(path, own_paths::REST)
}
