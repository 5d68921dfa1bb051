//! The service listener: REST, forward-auth and health, nothing behind it.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::bounds;
use super::connection::Connections;
use super::endpoints::Endpoints;
use super::linger::answer_early;
use super::refusal::Refusal;
use super::rules::Live;
use super::source_of;
use super::told::Told;

/// What answers on the service listener.
pub(crate) struct Service {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) rules: Live,
}

#[async_trait]
impl ProxyHttp for Service {
    type CTX = Told;

    fn new_ctx(&self) -> Told {
        Told::new()
    }

    /// None. Pingora would add one that compresses, switched off.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _: &mut Told) -> Result<()> {
        self.connections.prepare(session);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, told: &mut Told) -> Result<bool> {
        let rules = self.rules.load_full();
        if let Some(refused) = bounds::refuse(session, &rules.limits) {
            session.set_keepalive(None);
            refused.tell_early(source_of(session), &told.note);
            answer_early(session, refused.answer(), &rules).await?;
            return Ok(true);
        }
        // A front proxy asks for a path. One that lets clients write `x:http://h/healthz` in the request
        // line hands that on to us, and would take our 200 for a permit.
        let sent = if session.req_header().raw_path().first() != Some(&b'/') {
            session.set_keepalive(None);
            Refusal::NoPath.tell_early(source_of(session), &told.note);
            Refusal::NoPath.answer().send(session).await
        } else {
            self.endpoints.answer(session, &mut told.note).await
        };
        if let Err(error) = sent {
            // Nobody's error: whoever asked did not wait.
            tracing::debug!(error = error.etype().as_str(), "the client is gone");
            session.set_keepalive(None);
        }
        Ok(true)
    }

    /// Never asked: every request is answered before.
    async fn upstream_peer(&self, _: &mut Session, _: &mut Told) -> Result<Box<HttpPeer>> {
        Err(Error::explain(
            ErrorType::InternalError,
            "the service listener has no upstream",
        ))
    }

    /// A client that is gone is no error of ours.
    fn suppress_error_log(&self, _: &Session, _: &Told, error: &Error) -> bool {
        *error.esource() == ErrorSource::Downstream
    }

    /// The last that is heard of each request.
    async fn logging(&self, session: &mut Session, _: Option<&Error>, told: &mut Told) {
        self.connections.answered();
        told.tell(session);
    }

    /// Goes into Pingora's error logs, where a path or query could hold a secret.
    fn request_summary(&self, session: &Session, _: &Told) -> String {
        session.req_header().method.to_string()
    }
}
