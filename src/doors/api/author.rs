use std::sync::Arc;

use super::call::Call;
use super::change::{Author, Unconfirmed};
use super::response::ApiResponse;
use super::state::Api;
use crate::auth::{Capability, Permit};

/// Returns the author of changes by a call.
pub(super) fn author(api: &Api, call: &Call, permit: &Permit, capability: Capability) -> Author {
    Author {
        permit: permit.clone(),
        capability,
        authority: Arc::clone(&api.authority),
        source: call.source,
        audit: api.audit.clone(),
        record: call.record.with_same_id(),
    }
}

impl From<Unconfirmed> for ApiResponse {
    fn from(unconfirmed: Unconfirmed) -> Self {
        match unconfirmed {
            Unconfirmed::Unloggable => Self::unavailable(),
            Unconfirmed::Unknown | Unconfirmed::Unlogged => {
                Self::not_confirmed(unconfirmed.detail())
            }
        }
    }
}
