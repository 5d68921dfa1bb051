use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::auth::{Authority, Parameters};
use crate::http::CredentialHeaders;

/// What the REST door needs.
pub struct Api {
    /// Who decides, and whose store is changed.
    pub authority: Arc<Authority>,
    /// Where a credential stands that is not in the body; its `name_chars` bounds the fields of a
    /// body too.
    pub credential_headers: CredentialHeaders,
    /// Whether every answer about an identity shows its seed, as the old server did, and not only
    /// its creation.
    pub reveal_seeds: bool,
    /// The parameters of new identities.
    pub defaults: Parameters,
    /// The changes that are under way, whether or not their callers still wait.
    pub changes: TaskTracker,
}
