//! The listeners with nothing behind them: the service (REST, forward-auth, health) and the metrics (metrics,
//! health).

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use http::header::HOST;
use http::uri::{Scheme, Uri};
use pingora::ErrorType;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use super::endpoints::{Endpoints, is_rest};
use super::request_log::RequestLog;
use crate::http::refusal::Refusal;
use crate::net::bounds;
use crate::net::connection::Connections;
use crate::net::linger::answer_early;
use crate::net::request_line::request_line;
use crate::net::settings::{Listening, Live};
use crate::net::source_of;
use crate::routing::target::{Target, host_of};
use crate::telemetry::Recorder;

/// What answers on the service listener, or on the metrics listener.
///
/// It stands on Pingora's HTTP sessions as its proxy does, and not on the proxy, of which it would use
/// nothing.
pub(crate) struct Service {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) settings: Live,
    pub(crate) listening: Listening,
}

#[async_trait]
impl HttpServerApp for Service {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !read(&mut session).await {
            return None;
        }
        if !self.connections.prepare(&mut session) {
            return None;
        }
        let mut log = RequestLog::new(&self.recorder);
        let answered = self.answer(&mut session, &mut log).await;
        log.write(&self.recorder, &session);
        if let Err(error) = answered {
            // Whoever asked did not wait, or what was to be answered broke off, which has been logged.
            tracing::debug!(
                error = error.etype().as_str(),
                "the response was not sent in full"
            );
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok().flatten()?;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

impl Service {
    async fn answer(
        &self,
        session: &mut ServerSession,
        log: &mut RequestLog,
    ) -> pingora::Result<()> {
        let refused = bounds::refuse(session, &self.settings.load().limits);
        if let Some(refused) = refused {
            session.set_keepalive(None);
            let request_line = request_line(session.req_header());
            refused.log(
                &self.recorder,
                source_of(session),
                request_line,
                &log.record,
            );
            let answer = refused.answer().named(&log.record);
            return answer_early(session, answer, &self.settings.load_full()).await;
        }
        // A front proxy asks for a path. One that lets clients write `x:http://h/healthz` in the request
        // line hands that on to us, and would take our 200 for a permit.
        let header = session.req_header();
        if header.raw_path().first() != Some(&b'/') && !is_rest_url(header) {
            session.set_keepalive(None);
            let request_line = request_line(session.req_header());
            Refusal::NoPath.log(
                &self.recorder,
                source_of(session),
                request_line,
                &log.record,
            );
            let answer = Refusal::NoPath.answer().named(&log.record);
            return answer.send(session).await;
        }
        match self.listening {
            Listening::Metrics => self.endpoints.answer_monitor(session).await,
            Listening::Service | Listening::Gateway => {
                self.endpoints.answer(session, &mut log.record).await
            }
        }
    }
}

/// Says whether a request target is the URL of a REST resource (RFC 9112 §3.2.2) under the host that `Host`
/// names too, with a path that every server reads alike.
fn is_rest_url(header: &RequestHeader) -> bool {
    // The URI of the header has only the path.
    let Ok(url) = Uri::try_from(header.raw_path()) else {
        return false;
    };
    let is_http = [Scheme::HTTP, Scheme::HTTPS]
        .iter()
        .any(|it| url.scheme() == Some(it));
    let mut hosts = header.headers.get_all(HOST).iter();
    let is_same_host = match (url.authority(), hosts.next(), hosts.next()) {
        (Some(authority), Some(host), None) => {
            let authority = authority.as_str();
            host_of(authority).is_some() && host.as_bytes() == authority.as_bytes()
        }
        _ => false,
    };
    let path = url.path();
    let is_plain = Target::read(path.as_bytes()).is_ok_and(|target| {
        let has_slashes = target.double_slash || target.encoded_slash;
        !has_slashes && target.plain() == path.as_bytes()
    });
    is_http && is_same_host && is_plain && path == header.uri.path() && is_rest(path)
}

/// Reads the header of a request, and says whether there is one to be answered: what is none gets its 400
/// here, and CONNECT, which changes what follows, its 405.
async fn read(session: &mut ServerSession) -> bool {
    let status = match session.read_request().await {
        Ok(true) if session.req_header().method == Method::CONNECT => 405,
        Ok(is_read) => return is_read,
        Err(error) if *error.etype() == ErrorType::InvalidHTTPHeader => 400,
        Err(error) => {
            tracing::debug!(error = error.etype().as_str(), "no request could be read");
            session.shutdown().await;
            return false;
        }
    };
    if let Err(error) = session.respond_error(status).await {
        tracing::debug!(error = error.etype().as_str(), "the client disconnected");
    }
    session.shutdown().await;
    false
}
