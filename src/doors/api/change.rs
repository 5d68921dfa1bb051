//! Changes of identities, for both REST APIs. A change is in the audit log before its response is
//! sent.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::audit::{Actor, Audit, Changes, DURABLE, Event, Kind};
use crate::auth::{
    Authority, BadRow, Capability, Denial, Identity, IdentityId, Permit, Policy, Principal,
    PrincipalRef, Proof, UnixTime,
};
use crate::telemetry::{Door, RequestRecord};

/// How long a caller waits for the outcome of a change.
const LONGEST: Duration = Duration::from_secs(30);

/// Why a change is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unconfirmed {
    /// It was not made: the audit log cannot be written.
    Unloggable,
    /// It may have been made: the store has not confirmed it yet.
    Unknown,
    /// It was made, but is not in the audit log yet.
    Unlogged,
}

impl Unconfirmed {
    /// Describes the outcome for the client.
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Self::Unloggable => "The change was not made: the audit log cannot be written.",
            Self::Unknown => "The change may have been made: the store has not confirmed it yet.",
            Self::Unlogged => {
                "The change was made, but could not be written into the audit log yet."
            }
        }
    }
}

/// The principal on whose behalf something is changed.
pub(crate) struct Author {
    pub(crate) permit: Permit,
    /// What the principal needs for the change.
    pub(crate) capability: Capability,
    pub(crate) authority: Arc<Authority>,
    /// The address of the client.
    pub(crate) source: Option<IpAddr>,
    pub(crate) audit: Audit,
    /// The record of the request.
    pub(crate) record: RequestRecord,
}

/// The changed identity.
pub(crate) struct Subject<'a> {
    pub(crate) id: IdentityId,
    /// `None` for a row that is no identity, and whose name or realm none can have.
    pub(crate) principal: Option<&'a Principal>,
}

impl<'a> Subject<'a> {
    pub(crate) fn of(identity: &'a Identity) -> Self {
        Self {
            id: identity.id,
            principal: Some(&identity.principal),
        }
    }
}

impl Author {
    /// Checks, right before the change, that the author may still make it.
    ///
    /// # Errors
    /// The denial.
    pub(crate) async fn confirm(&self) -> Result<(), Denial> {
        let (permit, record) = (&self.permit, &self.record);
        confirm(&self.authority, permit, self.capability, record).await
    }

    /// Writes a change to the audit log, with the previous principal if that has changed.
    ///
    /// # Errors
    /// [`Unconfirmed::Unlogged`].
    pub(crate) async fn record(
        &self,
        kind: Kind,
        subject: Subject<'_>,
        was: Option<&Principal>,
    ) -> Result<(), Unconfirmed> {
        let was = was.map(Principal::as_ref);
        self.record_all(kind, &[(subject, was)]).await
    }

    /// Writes the deletion of a row that is no identity to the audit log.
    ///
    /// # Errors
    /// [`Unconfirmed::Unlogged`].
    pub(crate) async fn record_row(
        &self,
        subject: Subject<'_>,
        row: &BadRow,
    ) -> Result<(), Unconfirmed> {
        let event = self.event(Kind::IdentityDeleted, &subject);
        let detail = format!("row {} was no identity: {}", row.id.0, row.problem);
        let detail = Some(detail.into());
        self.write(&[Event { detail, ..event }]).await
    }

    /// Writes a change of the terms of an identity to the audit log.
    ///
    /// # Errors
    /// [`Unconfirmed::Unlogged`].
    pub(crate) async fn record_changes(
        &self,
        subject: Subject<'_>,
        changes: Option<Changes>,
    ) -> Result<(), Unconfirmed> {
        let event = self.event(Kind::IdentityChanged, &subject);
        self.write(&[Event { changes, ..event }]).await
    }

    /// Writes changes of one kind to the audit log.
    ///
    /// # Errors
    /// [`Unconfirmed::Unlogged`].
    pub(crate) async fn record_all(
        &self,
        kind: Kind,
        subjects: &[(Subject<'_>, Option<PrincipalRef<'_>>)],
    ) -> Result<(), Unconfirmed> {
        let events = subjects.iter().map(|(subject, was)| Event {
            was: *was,
            ..self.event(kind, subject)
        });
        self.write(&events.collect::<Vec<_>>()).await
    }

    /// Logs a change, and makes its event.
    fn event<'a>(&'a self, kind: Kind, subject: &Subject<'a>) -> Event<'a> {
        let by = self.permit.principal();
        let door = match self.permit.proof() {
            Proof::Session => Door::Admin,
            _ => Door::Rest,
        };
        let door = door.as_str();
        tracing::info!(
            action = kind.as_str(),
            id = subject.id.0,
            name = subject.principal.map(Principal::name),
            realm = subject.principal.map(Principal::realm),
            by_name = by.map(PrincipalRef::name),
            by_realm = by.map(PrincipalRef::realm),
            door,
            request_id = self.record.request_id(),
            "identity changed"
        );
        Event {
            door: Some(door),
            subject: subject.principal.map(Principal::as_ref),
            id: Some(subject.id),
            actor: by.map(Actor::Principal),
            proof: self.permit.proof().as_str(),
            source: self.source,
            request: self.record.request_id(),
            ..Event::new(kind)
        }
    }

    async fn write(&self, events: &[Event<'_>]) -> Result<(), Unconfirmed> {
        self.audit.record(events, DURABLE).await.map_err(|error| {
            let request_id = self.record.request_id();
            tracing::error!(%error, door = "rest", request_id, "an identity change was made but is not in the audit log yet");
            Unconfirmed::Unlogged
        })
    }
}

/// Checks that the caller of a request may still do what it was permitted to when the request began.
///
/// # Errors
/// The denial.
pub(crate) async fn confirm(
    authority: &Authority,
    permit: &Permit,
    capability: Capability,
    record: &RequestRecord,
) -> Result<(), Denial> {
    let now = UnixTime::from(SystemTime::now());
    let policy = Policy::Capable(capability);
    let confirmed = authority.confirm(permit, &policy, now).await;
    confirmed.inspect_err(|denial| {
        let who = permit.principal();
        tracing::warn!(
            reason = denial.reason(),
            name = who.map(PrincipalRef::name),
            realm = who.map(PrincipalRef::realm),
            door = "rest",
            request_id = record.request_id(),
            "a request was permitted, but its caller may not do this any more"
        );
    })
}

/// Runs a change in a task of its own, so that it reaches the audit log even if the caller
/// disconnects. Does not begin if the audit log has no room for `bytes` of lines.
///
/// # Errors
/// The errors of `work`; [`Unconfirmed::Unloggable`] if it did not begin; [`Unconfirmed::Unknown`]
/// if the outcome is not known after [`LONGEST`].
pub(crate) async fn finish<T, E>(
    (audit, changes): (&Audit, &TaskTracker),
    bytes: u64,
    record: RequestRecord,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Unconfirmed> + Send + 'static,
{
    audit.ready(bytes).await.map_err(|error| {
        tracing::error!(%error, door = "rest", "an identity change is rejected: the audit log cannot be written");
        Unconfirmed::Unloggable
    })?;
    outcome(changes, LONGEST, record, work).await
}

/// Waits for the outcome of `work`, which continues after the wait ends.
async fn outcome<T, E>(
    changes: &TaskTracker,
    longest: Duration,
    record: RequestRecord,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Unconfirmed> + Send + 'static,
{
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
            Err(Unconfirmed::Unknown.into())
        }
        Err(_) => {
            is_answered.store(true, Ordering::Release);
            tracing::error!(
                door = "rest",
                request_id,
                "an identity change took too long to confirm: it may have been made"
            );
            Err(Unconfirmed::Unknown.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::encode::Format;
    use super::super::response::ApiResponse;
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
            Ok::<_, ApiResponse>(())
        };
        let soon = Duration::from_millis(10);
        let answered = outcome(&changes, soon, RequestRecord::default(), work).await;
        let answer = answered.unwrap_err().render("DELETE", Format::default());
        assert_eq!(answer.status(), 503);
        let body = answer.into_body().into_bytes();
        assert!(body.starts_with(br#"{"detail":"The change may have been made"#));
        assert!(!is_logged.load(Ordering::Acquire));
        confirm.send(()).unwrap();
        changes.close();
        changes.wait().await;
        assert!(is_logged.load(Ordering::Acquire));
    }
}
