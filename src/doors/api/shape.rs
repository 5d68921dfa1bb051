//! Identities in JSON.

use http::StatusCode;
use serde::Serialize;

use super::response::ApiResponse;
use crate::auth::Identity;

/// A response, or that of a failure.
pub(super) type Outcome = Result<ApiResponse, ApiResponse>;

/// An identity in a response, with the keys in ungleich-otp's order.
#[derive(Serialize)]
struct Shape<'a> {
    id: i64,
    name: &'a str,
    realm: &'a str,
    /// Missing unless seeds are revealed; `null` if the seed cannot be decrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<Option<&'a str>>,
}

pub(super) fn shape(identity: &Identity, with_seed: bool) -> Result<String, ApiResponse> {
    let seed = with_seed.then(|| identity.seed().map(|seed| seed.to_base32()));
    let shape = Shape {
        id: identity.id.0,
        name: identity.principal.name(),
        realm: identity.principal.realm(),
        seed: seed.as_ref().map(|it| it.as_ref().map(|it| it.as_str())),
    };
    serde_json::to_string(&shape).map_err(|_| ApiResponse::unavailable())
}

pub(super) fn show(identity: &Identity, with_seed: bool, status: StatusCode) -> Outcome {
    shape(identity, with_seed).map(|json| ApiResponse::json(status, json).with_seeds(with_seed))
}
