//! Whether this process can decide on requests: for load balancers, supervisors and front proxies.

use std::sync::Arc;

use crate::auth::{Authority, StoreError};
use crate::net::connection::Connections;

/// Checks the readiness of this process.
pub(crate) struct Readiness {
    pub(crate) authority: Arc<Authority>,
    pub(crate) connections: Arc<Connections>,
}

impl Readiness {
    /// Succeeds while the store responds, the process has the keys of its seeds, and it is not
    /// shutting down.
    ///
    /// # Errors
    /// The cause, as a line of text.
    pub(crate) async fn check(&self) -> Result<(), &'static str> {
        if self.connections.is_draining() {
            return Err("shutting down\n");
        }
        let error = match self.authority.ping().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.is_lost() {
            return Err("a file of the database was deleted or replaced\n");
        }
        tracing::error!(%error, "readiness check failed");
        Err(match error {
            StoreError::MissingKey(_) => "a key that seeds are encrypted with is missing\n",
            _ => "the store does not answer\n",
        })
    }
}
