//! Interim responses over HTTP/1.1 (RFC 9110 §15.2).

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::shared::Shared;
use crate::http::own_response::put_head;

/// Sends the interim responses to a request. They are dropped if the client cannot receive them:
/// over HTTP/1.0, which has none, and over HTTP/2, where hyper 1.12 cannot send them.
pub(crate) struct Interim(Option<Arc<Shared>>);

impl Interim {
    pub(super) fn new(shared: Option<&Arc<Shared>>) -> Self {
        Self(shared.cloned())
    }

    /// Makes a sender that drops them.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Sends an interim response. Must be called by the future that handles the request.
    pub(crate) fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let Some(shared) = &self.0 else {
            return;
        };
        let mut state = shared.lock();
        if !state.is_answering || !status.is_informational() {
            return;
        }
        put_head(&mut state.interim, status, headers);
    }
}
