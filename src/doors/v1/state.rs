use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::auth::{Authority, LocalAuthenticator, Store, UnixTime};
use crate::config::Config;
use crate::store::Options;
use crate::telemetry::Recorder;

/// The state of `/v1`.
pub struct V1 {
    /// Decides about callers.
    pub authority: Arc<Authority>,
    /// Knows the failures of identities.
    pub authenticator: Arc<LocalAuthenticator>,
    /// The identities.
    pub store: Arc<dyn Store>,
    /// How the store was opened.
    pub options: Options,
    /// Records decisions.
    pub recorder: Arc<Recorder>,
    /// The log of changes.
    pub audit: Audit,
    /// The changes in progress, including those whose callers have disconnected.
    pub changes: TaskTracker,
    /// The configuration in force.
    pub config: Arc<ArcSwap<Config>>,
    /// When the server started.
    pub started: UnixTime,
    /// Cancelled when the server shuts down, so that nobody waits for changes.
    pub closing: CancellationToken,
}
