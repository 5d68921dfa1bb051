//! Changes of identities: what one did is in the audit log before it is answered.

use std::net::IpAddr;

use super::call::Call;
use super::response::Answer;
use crate::auth::{Identity, IdentityId, Permit, Principal, PrincipalRef};
use crate::telemetry::Note;
use crate::telemetry::audit::{self, Actor, AuditError, Event, Kind};

/// On whose behalf something is changed.
pub(super) struct Author {
    permit: Permit,
    source: Option<IpAddr>,
    /// Of the request that asked for it.
    note: Note,
}

/// Which identity was changed.
pub(super) struct Subject<'a> {
    pub(super) id: IdentityId,
    pub(super) principal: &'a Principal,
}

impl<'a> Subject<'a> {
    pub(super) fn of(identity: &'a Identity) -> Self {
        Self {
            id: identity.id,
            principal: &identity.principal,
        }
    }
}

impl Author {
    pub(super) fn new(permit: &Permit, call: &Call) -> Self {
        Self {
            permit: permit.clone(),
            source: call.source,
            note: call.note.another(),
        }
    }

    /// Writes down what was done to an identity, and who it was before if that has changed.
    ///
    /// # Errors
    /// 503: it was done, and is not in the log yet.
    pub(super) async fn record(
        &self,
        kind: Kind,
        subject: Subject<'_>,
        was: Option<&Principal>,
    ) -> Result<(), Answer> {
        let by = self.permit.principal();
        tracing::info!(
            action = kind.as_str(),
            id = subject.id.0,
            name = subject.principal.name(),
            realm = subject.principal.realm(),
            by_name = by.map(PrincipalRef::name),
            by_realm = by.map(PrincipalRef::realm),
            door = "rest",
            request_id = self.note.request(),
            "identity changed"
        );
        let event = Event {
            door: Some("rest"),
            subject: Some(subject.principal.as_ref()),
            id: Some(subject.id),
            was: was.map(Principal::as_ref),
            actor: by.map(Actor::Principal),
            source: self.source,
            request: self.note.request(),
            ..Event::new(kind)
        };
        audit::record(&[event])
            .await
            .map_err(|error| failed(&error))
    }
}

/// Does work that changes something, in a task of its own: if the caller goes away in the middle, it is
/// written down all the same. Nothing is begun that could not be.
///
/// # Errors
/// Those of the work; 503.
pub(super) async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, Answer>> + Send + 'static,
) -> Result<T, Answer> {
    audit::ready().await.map_err(|error| failed(&error))?;
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Answer::unavailable()))
}

fn failed(error: &AuditError) -> Answer {
    tracing::error!(%error, door = "rest", "a change is refused, or not answered");
    Answer::unavailable()
}
