//! Authentication by the secret of a session or of a login link.

use std::sync::Arc;

use super::decision::{Authenticated, Denial, Proof};
use super::local::LocalAuthenticator;
use super::session::{SessionId, SessionKind, SessionSecret};
use super::store::Sessions;
use super::throttle::{Source, Throttled};
use super::time::UnixTime;

/// The interval in seconds at which the use of a session is saved.
const SAVE_EVERY: u64 = 10;

impl LocalAuthenticator {
    /// Makes it accept the sessions of a store.
    #[must_use]
    pub fn with_sessions(mut self, sessions: Arc<dyn Sessions>) -> Self {
        self.sessions = Some(sessions);
        self
    }

    /// Records that a session has begun, so that its source may use it also while it is delayed.
    pub fn session_has_begun(&self, id: SessionId) {
        self.found_sessions.add(&id, || ());
    }

    /// Authenticates by the secret of a session, or uses up a link. Returns `None` if there is none,
    /// or if it has ended. An unknown secret counts as a failure of the source. A delayed source can
    /// use only sessions that this process has found before.
    ///
    /// # Errors
    /// [`Denial::Throttled`] or [`Denial::Unavailable`].
    pub(super) async fn resume_session(
        &self,
        (secret, kind): (&SessionSecret, SessionKind),
        source: Source<'_>,
        now: UnixTime,
    ) -> Result<Option<Authenticated>, Denial> {
        let Some(sessions) = &self.sessions else {
            return Ok(None);
        };
        let id = secret.id();
        let throttled = |left| Denial::Throttled {
            retry_after: left,
            whom: Throttled::Source,
        };
        let time = self.counters.failure_time(now);
        if !self.found_sessions.contains(&id)
            && let Some(left) = self.throttle.guesses_left(source, time)
        {
            return Err(throttled(left));
        }
        let found = sessions.session(id).await.map_err(Denial::Unavailable)?;
        let Some(session) = found.filter(|it| it.kind == kind) else {
            self.found_sessions.remove(&id);
            let left = self.throttle.count_guess(source, time);
            return left.map_or(Ok(None), |left| Err(throttled(left)));
        };
        if !session.is_open(now) {
            return Ok(None);
        }
        let who = session.principal.as_ref();
        let record = match self.recall(who) {
            Some(record) => record,
            None => self.find(who).await.map_err(Denial::Unavailable)?,
        };
        if record.standing(now).is_err() {
            return Ok(None);
        }
        let identity = record.identity.filter(|it| it.id == session.identity);
        let Some(identity) = identity else {
            return Ok(None);
        };
        let proof = match kind {
            SessionKind::Session => Proof::Session,
            SessionKind::Link => {
                let used = sessions.end_session(id).await;
                if used.map_err(Denial::Unavailable)?.is_none() {
                    return Ok(None);
                }
                Proof::Link
            }
        };
        if kind == SessionKind::Session
            && now.as_secs() >= session.seen.as_secs().saturating_add(SAVE_EVERY)
        {
            // Without it, the session ends earlier.
            let _ = sessions.see_session(id, now).await;
        }
        if kind == SessionKind::Session {
            self.found_sessions.add(&id, || ());
        }
        Ok(Some(Authenticated::identity(identity, proof)))
    }
}
