//! What applies where an upstream has no setting of its own.

use super::check::Config;
use super::upstream::Upstream;
use crate::http::{IdentityHeaders, IdentityNames};

impl Config {
    /// Returns the headers that name the caller to an upstream, or to an application behind a front
    /// proxy.
    pub fn identity_headers(&self, upstream: Option<&Upstream>) -> IdentityNames {
        let own = upstream.and_then(|upstream| upstream.identity_headers.clone());
        own.unwrap_or_else(|| {
            let default = IdentityHeaders::new(&self.credential_headers);
            let mut names = default.names().cloned();
            IdentityNames {
                name: names.next(),
                realm: names.next(),
                user: names.next(),
            }
        })
    }
}
