//! Rows of sessions.

use std::net::IpAddr;

use realmgate_core::{IdentityId, Session, SessionId, SessionKind, UnixTime};

use super::record::{principal, unix_time};

/// The columns of a session, in the order of [`Row`].
pub(super) const COLUMNS: &str = "id, kind, identity, name, realm, made, seen, source";

/// The columns of a session.
pub(super) struct Row {
    pub(super) id: Vec<u8>,
    pub(super) kind: String,
    pub(super) identity: i64,
    pub(super) name: String,
    pub(super) realm: String,
    pub(super) made: i64,
    pub(super) seen: i64,
    pub(super) source: Option<String>,
}

impl Row {
    /// Returns the session, or `None` if this version does not know it.
    pub(super) fn session(self) -> Option<Session> {
        let kinds = [SessionKind::Session, SessionKind::Link];
        Some(Session {
            id: SessionId(self.id.try_into().ok()?),
            kind: kinds.into_iter().find(|it| it.as_str() == self.kind)?,
            identity: IdentityId(self.identity),
            principal: principal(&self.name, &self.realm).ok()?,
            made: unix_time(self.made),
            seen: unix_time(self.seen),
            source: self.source.and_then(|it| it.parse::<IpAddr>().ok()),
        })
    }
}

/// Returns the times of use and of creation before which sessions and links have ended at `now`.
pub(super) fn ended(now: UnixTime) -> [i64; 4] {
    let (idle, total) = SessionKind::Session.lasts();
    let (link_idle, link_total) = SessionKind::Link.lasts();
    [idle, total, link_idle, link_total].map(|length| {
        let before = now.as_secs().saturating_sub(length.as_secs());
        i64::try_from(before).unwrap_or(i64::MAX)
    })
}
