use std::time::Instant;

use http::Method;

use super::body::Body;
use super::call::Call;
use super::field::{Fault, TokenText};
use super::response::ApiResponse;
use super::state::Api;
use crate::auth::{Attempt, Credential, Denial, Flaw, Mode, Permit, Policy, Presented, Source};
use crate::doors::authorize::{AuthRequest, authorize};
use crate::http::Scratch;
use crate::telemetry::{Door, RequestRecord};

/// The names of the fields for name, realm and token.
pub(super) type Names = [&'static str; 3];

/// The caller in requests of version 0.8.
const AUTH: Names = ["auth_name", "auth_realm", "auth_token"];
/// The subject in requests of version 0.8, and the caller in those of version 0.6.
const PLAIN: Names = ["name", "realm", "token"];
/// The subject in requests of version 0.6.
const VERIFY: Names = ["verifyname", "verifyrealm", "verifytoken"];

/// The requested resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `/ungleichotp/verify/`.
    Verify,
    /// `/ungleichotp/` and the resources below it.
    Identities,
}

/// Authenticates the caller, and checks that `policy` admits it.
///
/// # Errors
/// The response to a denial.
pub(super) async fn admit(
    api: &Api,
    call: &Call,
    resource: Resource,
    policy: &Policy,
) -> Result<Permit, ApiResponse> {
    let parts = caller_names(&call.body, resource, &call.method)
        .map(|names| parts(&call.body, names, api.credential_headers.name_chars));
    let headers = &api.credential_headers;
    let mut scratch = Scratch::new();
    // ungleich-otp did not read headers, so an incomplete credential there belongs to another
    // program.
    let presented = match &parts {
        None => headers.read_beside_others(&call.headers, &mut scratch),
        Some(_) if headers.holds_credential(&call.headers) => Presented::Malformed(Flaw::TwoKinds),
        Some(Ok(parts)) => parts.presented(headers.name_chars),
        Some(Err(flaw)) => Presented::Malformed(*flaw),
    };
    let attempt = Attempt {
        presented,
        source: Source::of(call.source),
    };
    let mut record = call.record.with_same_id();
    let decided = decide(api, call, &attempt, policy, &mut record).await;
    let decided = decided.map_err(|denial| denied(&denial).named(&record));
    call.record.set(record);
    decided
}

/// Decides about an attempt within a call.
///
/// # Errors
/// The denial.
pub(super) async fn decide(
    api: &Api,
    call: &Call,
    attempt: &Attempt<'_>,
    policy: &Policy,
    record: &mut RequestRecord,
) -> Result<Permit, Denial> {
    let request = AuthRequest {
        door: Door::Rest,
        tally: api.recorder.no_route(),
        attempt,
        policy,
        mode: Mode::Enforce,
        now: call.now,
        began: Instant::now(),
    };
    authorize(
        &api.authority,
        &api.recorder,
        request,
        || call.request_line(),
        record,
    )
    .await
}

/// Returns the response to a denied caller.
pub(super) fn denied(denial: &Denial) -> ApiResponse {
    match denial {
        Denial::NoCredential | Denial::Malformed(_) | Denial::InvalidCredential { .. } => {
            ApiResponse::not_authenticated()
        }
        Denial::Throttled { retry_after, .. } => {
            ApiResponse::not_authenticated().retry_after(*retry_after)
        }
        Denial::NotAllowed => ApiResponse::not_allowed(),
        Denial::Unavailable(_) => ApiResponse::unavailable(),
    }
}

/// Returns the fields of the subject of a verification, which depend on the client's version.
pub(super) fn subject_names(body: &Body) -> Names {
    if !body.has_any(AUTH) && body.has_any(VERIFY) {
        VERIFY
    } else {
        PLAIN
    }
}

/// Returns the fields of the caller; `None` if the body does not name one.
///
/// Version 0.6 sends the caller in the fields in which 0.8 sends the subject. They are read as the
/// caller only where they cannot mean the subject: beside a `verify…` field, and where nothing is
/// created or changed.
fn caller_names(body: &Body, resource: Resource, method: &Method) -> Option<Names> {
    if body.has_any(AUTH) {
        return Some(AUTH);
    }
    let old = match resource {
        Resource::Verify => body.has_any(VERIFY) && body.has_any(PLAIN),
        Resource::Identities => {
            let reads_fields = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
            !reads_fields && body.has("token")
        }
    };
    old.then_some(PLAIN)
}

/// The parts of a credential in a body.
struct Parts<'a> {
    name: &'a str,
    realm: &'a str,
    token: TokenText<'a>,
}

impl Parts<'_> {
    fn presented(&self, limit: usize) -> Presented<'_> {
        let token = self.token.token();
        let credential =
            token.and_then(|it| Credential::with_token(self.name, self.realm, it, limit));
        credential.into()
    }
}

fn parts(body: &Body, [name, realm, token]: Names, limit: usize) -> Result<Parts<'_>, Flaw> {
    let part = |name| body.text(name, limit).map_err(|faults| flaw(&faults));
    Ok(Parts {
        name: part(name)?,
        realm: part(realm)?,
        token: body.token(token).map_err(|faults| flaw(&faults))?,
    })
}

/// Returns the reason, for the log, why a field of the caller is invalid.
fn flaw(faults: &[Fault]) -> Flaw {
    match faults {
        [Fault::Missing | Fault::Null | Fault::Blank, ..] => Flaw::Partial,
        _ => Flaw::Encoding,
    }
}
