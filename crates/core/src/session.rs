//! Sessions of administrators in a browser.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::id::IdentityId;
use super::principal::Principal;
use super::seed::SeedError;
use super::time::UnixTime;

/// The secret of a session or of a login link: 256 random bits, which only the browser has. Zeroed
/// on drop, redacted in `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// Makes a secret with the random number generator of the operating system.
    ///
    /// # Errors
    /// [`SeedError::NoRandom`] if the generator fails.
    pub fn generate() -> Result<Self, SeedError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| SeedError::NoRandom)?;
        Ok(Self(bytes))
    }

    /// Reads the text of a secret: 43 characters of base64url. `None` for everything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        // Checked first, since the decoder panics at a buffer of another length.
        if text.len() != 43 {
            return None;
        }
        BASE64URL_NOPAD.decode_mut(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Returns the text of the secret.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(&self.0))
    }

    /// Returns the hash under which the store knows the session.
    pub fn id(&self) -> SessionId {
        let mut hash = Sha256::new();
        hash.update(b"realmgate session 1\0");
        hash.update(self.0);
        SessionId(hash.finalize().into())
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The hash of a [`SessionSecret`], which identifies a session and does not open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 32]);

/// What a [`SessionSecret`] opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A session.
    Session,
    /// One login.
    Link,
}

impl SessionKind {
    /// Returns a stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Link => "link",
        }
    }

    /// Returns how long it lasts without use, and in all.
    pub const fn lasts(self) -> (Duration, Duration) {
        match self {
            Self::Session => (Duration::from_secs(15 * 60), Duration::from_secs(8 * 3600)),
            Self::Link => (Duration::from_secs(60), Duration::from_secs(60)),
        }
    }
}

/// By how many seconds the clocks of processes may differ.
const CLOCKS_DIFFER: u64 = 60;

/// A session, or a link that begins one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The hash of its secret.
    pub id: SessionId,
    /// What it is.
    pub kind: SessionKind,
    /// Whose it is.
    pub identity: IdentityId,
    /// Its name and realm. A renamed identity has no sessions.
    pub principal: Principal,
    /// When it was made.
    pub made: UnixTime,
    /// When it was last used.
    pub seen: UnixTime,
    /// The address that began it, if that is known.
    pub source: Option<IpAddr>,
}

impl Session {
    /// The maximum number of sessions of an identity. A further one ends the oldest.
    pub const MOST: u32 = 16;

    /// Returns whether it has not ended by time at `now`. One of the future, which the clock of this
    /// process or of another one must have left, is not open: it would last too long.
    pub fn is_open(&self, now: UnixTime) -> bool {
        let (idle, total) = self.kind.lasts();
        let latest = now.as_secs().saturating_add(CLOCKS_DIFFER);
        if self.made.as_secs().max(self.seen.as_secs()) > latest {
            return false;
        }
        let after =
            |time: UnixTime, length: Duration| time.as_secs().saturating_add(length.as_secs());
        now.as_secs() < after(self.seen, idle) && now.as_secs() < after(self.made, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::NAME_CHARS;

    fn session(kind: SessionKind, made: u64, seen: u64) -> Session {
        Session {
            id: SessionId([0; 32]),
            kind,
            identity: IdentityId(1),
            principal: Principal::new("root", "ungleich-admin", NAME_CHARS).unwrap(),
            made: UnixTime::from_secs(made),
            seen: UnixTime::from_secs(seen),
            source: None,
        }
    }

    #[test]
    fn secret_is_read_back_from_its_text_only() {
        let secret = SessionSecret::generate().unwrap();
        let text = secret.text();
        assert_eq!(text.len(), 43);
        assert_eq!(
            SessionSecret::parse(text.as_bytes()).unwrap().id(),
            secret.id()
        );
        for text in [
            "",
            "A",
            text.get(1..).unwrap(),
            &format!("{}A", &**text),
            &"=".repeat(43),
        ] {
            assert!(SessionSecret::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }

    #[test]
    fn id_does_not_contain_the_secret() {
        let secret = SessionSecret([7; 32]);
        assert_ne!(secret.id().0, [7; 32]);
        assert_ne!(secret.id(), SessionSecret([8; 32]).id());
    }

    #[test]
    fn session_ends_when_idle_and_in_any_case_after_eight_hours() {
        let at = UnixTime::from_secs;
        let kind = SessionKind::Session;
        assert!(session(kind, 0, 0).is_open(at(899)));
        assert!(!session(kind, 0, 0).is_open(at(900)));
        assert!(session(kind, 0, 28_700).is_open(at(28_799)));
        assert!(!session(kind, 0, 28_700).is_open(at(28_800)));
        // The clock was set back.
        assert!(session(kind, 1060, 1060).is_open(at(1000)));
        assert!(!session(kind, 1061, 1061).is_open(at(1000)));
        assert!(!session(kind, 900, 1061).is_open(at(1000)));
        assert!(session(SessionKind::Link, 0, 0).is_open(at(59)));
        assert!(!session(SessionKind::Link, 0, 0).is_open(at(60)));
    }
}
