//! Tokens typed into the page: for a login, and for what needs a fresh proof.

use std::time::Instant;

use super::fault::{Errors, Fault, throttled};
use super::form::Form;
use super::state::Page;
use super::visit::{Client, Visit};
use crate::auth::{
    Attempt, Capability, Credential, Denial, DenialCause, Mode, Permit, Policy, Presented, Source,
};
use crate::doors::authorize::{AuthRequest, authorize};
use crate::telemetry::{Door, RequestLine};

/// Why a token was not accepted.
pub(super) enum Rejected {
    /// Name or token is wrong.
    Wrong,
    /// The token was used at the page before.
    Used,
    Fault(Fault),
}

/// What to show beside a token that was used.
pub(super) const USED: &str = "This token was used here already. Wait for the next one.";

/// Authenticates an administrator by a token, which counts for the page once, also in a realm where
/// tokens may be used again.
///
/// # Errors
/// [`Rejected`].
pub(super) async fn prove(
    page: &Page,
    client: &Client,
    (name, token): (&str, &str),
    path: &str,
) -> Result<Permit, Rejected> {
    let config = page.api.config.load_full();
    let realm = config.realms.admin();
    let limit = config.credential_headers.name_chars;
    let presented = match Credential::new(name, realm, token, limit) {
        Ok(credential) => Presented::Credential(credential.one_time()),
        Err(flaw) => Presented::Malformed(flaw),
    };
    let attempt = Attempt {
        presented,
        source: Source::of(client.source),
    };
    let request = AuthRequest {
        door: Door::Admin,
        tally: page.api.recorder.no_route(),
        attempt: &attempt,
        policy: &Policy::Capable(Capability::Update),
        mode: Mode::Enforce,
        now: client.now,
        began: Instant::now(),
    };
    let line = || RequestLine {
        method: b"POST",
        host: b"",
        path: path.as_bytes(),
    };
    let mut record = client.record.with_same_id();
    let decided = authorize(
        &page.api.authority,
        &page.api.recorder,
        request,
        line,
        &mut record,
    );
    let decided = decided.await;
    client.record.set(record);
    decided.map_err(|denial| match denial {
        Denial::InvalidCredential {
            cause: DenialCause::AlreadyUsed,
            ..
        } => Rejected::Used,
        Denial::Throttled { retry_after, .. } => Rejected::Fault(throttled(retry_after)),
        Denial::Unavailable(_) => Rejected::Fault(Fault::UNAVAILABLE),
        _ => Rejected::Wrong,
    })
}

/// Returns whether the identities of a realm have capabilities, so that a fresh token is needed to add one.
pub(super) fn is_reserved(page: &Page, realm: &str) -> bool {
    let config = page.api.config.load();
    [config.realms.admin(), config.realms.auth()].contains(&realm.trim())
}

/// Checks the fresh token that dangerous changes need, if trying the change has found nothing else
/// that is wrong. Returns the errors of the form.
///
/// A token is used up by its check. If it were checked first, a stale version or a taken name would
/// make the administrator wait for the next one. The trial looks at no token, and says nothing that
/// the holder of the session may not see anyway.
///
/// # Errors
/// Those that belong to no form.
pub(super) async fn confirmed(
    page: &Page,
    visit: &Visit,
    form: &Form,
    tried: Result<(), Fault>,
) -> Result<Option<Errors>, Fault> {
    if let Err(fault) = tried {
        return Ok(Some(fault.errors()?.with_unused_token(form.text("token"))));
    }
    let of = (visit.name(), form.text("token"));
    let text = match prove(page, &visit.client, of, "/identities").await {
        Ok(permit)
            if permit.identity().map(|(id, _)| id) == visit.permit.identity().map(|(id, _)| id) =>
        {
            return Ok(None);
        }
        Err(Rejected::Fault(fault)) => return Err(fault),
        Err(Rejected::Used) => USED,
        Ok(_) | Err(Rejected::Wrong) => "This is not your current token.",
    };
    Ok(Some(Errors::one("token", text)))
}
