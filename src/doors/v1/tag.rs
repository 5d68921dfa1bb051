//! Entity tags (RFC 9110 §8.8.3).

use crate::auth::{IdentityId, Version};

/// Returns the entity tag of an identity. Another identity may get the same name later, so the tag
/// has the number too.
pub(super) fn etag(id: IdentityId, version: Version) -> String {
    format!("\"{}-{}\"", id.0, version.0)
}
