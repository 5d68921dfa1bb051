//! Authentication by the secret of a session or of a log-in link.

use std::sync::Arc;

use super::decision::{Authenticated, Denial, Proof};
use super::local::LocalAuthenticator;
use super::session::{SessionKind, SessionSecret};
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

    /// Authenticates by the secret of a session, or uses up a link. Returns `None` if there is none,
    /// or if it has ended. An unknown secret counts as a failure of the source.
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
        let found = sessions.session(id).await.map_err(Denial::Unavailable)?;
        let Some(session) = found.filter(|it| it.kind == kind) else {
            return match self.throttle.count_guess(source, now) {
                None => Ok(None),
                Some(left) => Err(Denial::Throttled {
                    retry_after: left,
                    whom: Throttled::Source,
                }),
            };
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
        Ok(Some(Authenticated::identity(identity, proof)))
    }
}
