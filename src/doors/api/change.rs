//! Changes of identities. A change is in the audit log before its response is sent.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::call::Call;
use super::response::Answer;
use super::state::Api;
use crate::audit::{Actor, Audit, DURABLE, Event, Kind, LINE};
use crate::auth::{Identity, IdentityId, Permit, Principal, PrincipalRef};
use crate::telemetry::RequestRecord;

/// How long a caller waits for the outcome of a change.
const LONGEST: Duration = Duration::from_secs(30);

/// The response if the outcome is not known.
pub(super) const UNKNOWN: &str =
    "The change may have been made: the store has not confirmed it yet.";
const UNLOGGED: &str = "The change was made, but could not be written into the audit log yet.";

/// The principal on whose behalf something is changed.
pub(super) struct Author {
    permit: Permit,
    source: Option<IpAddr>,
    audit: Audit,
    /// The record of the request.
    record: RequestRecord,
}

/// The changed identity.
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
    pub(super) fn new(api: &Api, permit: &Permit, call: &Call) -> Self {
        Self {
            permit: permit.clone(),
            source: call.source,
            audit: api.audit.clone(),
            record: call.record.with_same_id(),
        }
    }

    /// Writes a change to the audit log, with the previous principal if that has changed.
    ///
    /// # Errors
    /// 503 with the detail that the change was made.
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
            request_id = self.record.request_id(),
            "identity changed"
        );
        let event = Event {
            door: Some("rest"),
            subject: Some(subject.principal.as_ref()),
            id: Some(subject.id),
            was: was.map(Principal::as_ref),
            actor: by.map(Actor::Principal),
            source: self.source,
            request: self.record.request_id(),
            ..Event::new(kind)
        };
        self.audit.record(&[event], DURABLE).await.map_err(|error| {
            let request_id = self.record.request_id();
            tracing::error!(%error, door = "rest", request_id, "an identity change was made but is not in the audit log yet");
            Answer::not_confirmed(UNLOGGED)
        })
    }
}

/// Runs a change in a task of its own, so that it reaches the audit log even if the caller
/// disconnects. Does not begin if the audit log cannot be written.
///
/// # Errors
/// The errors of `work`; 503 if it did not begin; 503 with the detail that the change may have been
/// made, if the outcome is not known after [`LONGEST`].
pub(super) async fn finish<T: Send + 'static>(
    api: &Api,
    call: &Call,
    work: impl Future<Output = Result<T, Answer>> + Send + 'static,
) -> Result<T, Answer> {
    api.audit.ready(LINE).await.map_err(|error| {
        tracing::error!(%error, door = "rest", "an identity change is rejected: the audit log cannot be written");
        Answer::unavailable()
    })?;
    outcome(&api.changes, LONGEST, call.record.with_same_id(), work).await
}

/// Waits for the outcome of `work`, which continues after the wait ends.
async fn outcome<T: Send + 'static>(
    changes: &TaskTracker,
    longest: Duration,
    record: RequestRecord,
    work: impl Future<Output = Result<T, Answer>> + Send + 'static,
) -> Result<T, Answer> {
    let is_answered = Arc::new(AtomicBool::new(false));
    let running = changes.spawn({
        let is_answered = Arc::clone(&is_answered);
        let record = record.with_same_id();
        async move {
            let outcome = work.await;
            if is_answered.load(Ordering::Acquire) {
                let (request_id, done) = (record.request_id(), outcome.is_ok());
                tracing::warn!(
                    door = "rest",
                    request_id,
                    done,
                    "the outcome of an identity change is known after its response"
                );
            }
            outcome
        }
    });
    let request_id = record.request_id();
    match timeout(longest, running).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            tracing::error!(
                door = "rest",
                request_id,
                "an identity change panicked: it may have been made"
            );
            Err(Answer::not_confirmed(UNKNOWN))
        }
        Err(_) => {
            is_answered.store(true, Ordering::Release);
            tracing::error!(
                door = "rest",
                request_id,
                "an identity change took too long to confirm: it may have been made"
            );
            Err(Answer::not_confirmed(UNKNOWN))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::encode::Format;
    use super::*;

    #[tokio::test]
    async fn change_continues_after_its_caller_got_no_confirmation() {
        let changes = TaskTracker::new();
        let (confirm, confirmed) = oneshot::channel::<()>();
        let is_logged = Arc::new(AtomicBool::new(false));
        let logging = Arc::clone(&is_logged);
        let work = async move {
            let _ = confirmed.await;
            logging.store(true, Ordering::Release);
            Ok(())
        };
        let soon = Duration::from_millis(10);
        let answered = outcome(&changes, soon, RequestRecord::default(), work).await;
        let answer = answered.unwrap_err().render("DELETE", Format::default());
        assert_eq!(answer.status(), 503);
        let body = axum::body::to_bytes(answer.into_body(), 1000)
            .await
            .unwrap();
        assert!(body.starts_with(br#"{"detail":"The change may have been made"#));
        assert!(!is_logged.load(Ordering::Acquire));
        confirm.send(()).unwrap();
        changes.close();
        changes.wait().await;
        assert!(is_logged.load(Ordering::Acquire));
    }
}
