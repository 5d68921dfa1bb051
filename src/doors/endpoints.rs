//! realmgate's own endpoints, on whichever listener they are served.

use std::sync::Arc;

use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};

use super::forward_auth::{ForwardAuth, FrontProxy};
use super::local::Local;
use crate::auth::Authority;
use crate::http::answer::{Answer, send};
use crate::http::own_paths;
use crate::metrics::{Exposition, Registry};
use crate::net::connection::Connections;
use crate::telemetry::RequestRecord;

/// The endpoints that realmgate serves itself.
pub(crate) struct Endpoints {
    pub(crate) forward_auth: Arc<ForwardAuth>,
    pub(crate) rest: Local,
    pub(crate) authority: Arc<Authority>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) metrics: Registry,
}

impl Endpoints {
    /// Serves any request. Paths without an endpoint go to the REST router. Fills `record` with the
    /// decision.
    ///
    /// # Errors
    /// The client has disconnected.
    pub(crate) async fn answer(
        &self,
        session: &mut ServerSession,
        record: &mut RequestRecord,
    ) -> Result<()> {
        let path = session.req_header().uri.path();
        if let Some(proxy) = FrontProxy::of(path) {
            return self.forward_auth.answer(session, proxy, record).await;
        }
        match path {
            "/healthz" => Answer::line(StatusCode::OK, "ok\n").send(session).await,
            "/readyz" => self.readiness().await.send(session).await,
            _ => self.rest.answer(session, record).await,
        }
    }

    /// Serves a request on the metrics listener: metrics and health, and 404 for everything else.
    ///
    /// # Errors
    /// The client has disconnected.
    pub(crate) async fn answer_monitor(&self, session: &mut ServerSession) -> Result<()> {
        match session.req_header().uri.path() {
            "/metrics" => self.metrics(session).await,
            "/healthz" => Answer::line(StatusCode::OK, "ok\n").send(session).await,
            "/readyz" => self.readiness().await.send(session).await,
            _ => {
                let line = "only /metrics, /healthz and /readyz\n";
                Answer::line(StatusCode::NOT_FOUND, line)
                    .send(session)
                    .await
            }
        }
    }

    /// Serves a request on the proxy's listener if its path is below `/ungleichotp/` or
    /// `/forward-auth`. Returns whether it was.
    ///
    /// # Errors
    /// The client has disconnected.
    pub(crate) async fn answer_public(
        &self,
        session: &mut ServerSession,
        record: &mut RequestRecord,
    ) -> Result<bool> {
        let path = session.req_header().uri.path();
        if let Some(proxy) = FrontProxy::of(path) {
            self.forward_auth.answer(session, proxy, record).await?;
            return Ok(true);
        }
        let is_rest = is_rest(path);
        if is_rest {
            self.rest.answer(session, record).await?;
        }
        Ok(is_rest)
    }

    /// Responds with the metrics of this process.
    async fn metrics(&self, session: &mut ServerSession) -> Result<()> {
        let method = &session.req_header().method;
        if method != Method::GET && method != Method::HEAD {
            let mut answer = Answer::line(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer
                .fields
                .push((ALLOW, HeaderValue::from_static("GET, HEAD")));
            return answer.send(session).await;
        }
        let exposition = exposition(session.req_header().headers.get(ACCEPT));
        let text = self.metrics.text(exposition).map_err(|error| {
            Error::because(ErrorType::InternalError, "writing the metrics", error)
        })?;
        let mut header = ResponseHeader::build_no_case(StatusCode::OK, Some(3))?;
        header.insert_header(CONTENT_TYPE, exposition.media_type())?;
        header.insert_header(CONTENT_LENGTH, text.len())?;
        header.insert_header(CACHE_CONTROL, "no-store")?;
        send(session, header, text.into()).await
    }

    /// Responds with 200 while the store responds and the process is not shutting down.
    async fn readiness(&self) -> Answer {
        if self.connections.is_draining() {
            return Answer::line(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
        }
        match self.authority.ping().await {
            Ok(()) => Answer::line(StatusCode::OK, "ready\n"),
            Err(error) if error.is_lost() => Answer::line(
                StatusCode::SERVICE_UNAVAILABLE,
                "a file of the database was deleted or replaced\n",
            ),
            Err(error) => {
                tracing::error!(%error, "readiness check failed");
                Answer::line(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the store does not answer\n",
                )
            }
        }
    }
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

/// Returns whether the proxy's listener serves a path itself, if `gateway.serve_api` is set.
pub(super) fn is_public(path: &str) -> bool {
    FrontProxy::of(path).is_some() || is_rest(path)
}

/// Returns whether a path is that of a REST resource, or below one.
pub(super) fn is_rest(path: &str) -> bool {
    own_paths::is_below(path, own_paths::REST)
}
