//! The service listener: REST, forward-auth and health, nothing behind it.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::connection::Connections;
use super::endpoints::Endpoints;

/// What answers on the service listener.
pub(crate) struct Service {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) connections: Arc<Connections>,
}

#[async_trait]
impl ProxyHttp for Service {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn early_request_filter(&self, session: &mut Session, (): &mut ()) -> Result<()> {
        self.connections.prepare(session);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        self.endpoints.answer(session).await?;
        Ok(true)
    }

    /// Never asked: every request is answered before.
    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Err(Error::explain(
            ErrorType::InternalError,
            "the service listener has no upstream",
        ))
    }

    /// A client that is gone is no error of ours.
    fn suppress_error_log(&self, _: &Session, (): &(), error: &Error) -> bool {
        *error.esource() == ErrorSource::Downstream
    }

    /// Goes into Pingora's error logs, where a path or query could hold a secret.
    fn request_summary(&self, session: &Session, (): &()) -> String {
        session.req_header().method.to_string()
    }
}
