use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::auth::{Administration, Authority, Parameters};
use crate::http::CredentialHeaders;
use crate::telemetry::Recorder;

/// The state of the REST door.
pub struct Api {
    /// Decides about callers and subjects.
    pub authority: Arc<Authority>,
    /// The identities that callers read and change.
    pub identities: Arc<dyn Administration>,
    /// Records decisions.
    pub recorder: Arc<Recorder>,
    /// The log of changes.
    pub audit: Audit,
    /// The headers that may carry the caller's credential. Their `name_chars` also limits the
    /// fields of a body.
    pub credential_headers: CredentialHeaders,
    /// Whether all responses about identities contain seeds, as in ungleich-otp, and not only those
    /// to creations.
    pub reveal_seeds: bool,
    /// The parameters of new identities.
    pub defaults: Parameters,
    /// The changes in progress, including those whose callers have disconnected.
    pub changes: TaskTracker,
}
