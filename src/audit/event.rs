//! What a line says beside its place in the chain.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::auth::{IdentityId, PrincipalRef};

/// The most characters of a text that is not ours.
const DETAIL_CHARS: usize = 512;

/// Defines what can happen, each under a stable name.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $name:literal,)+) => {
        /// What happened, under a stable name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])+ $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// Returns the name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// An identity was registered.
    IdentityCreated = "identity_created",
    /// When an identity may authenticate was changed, or its comment.
    IdentityChanged = "identity_changed",
    /// An identity has another name or realm.
    IdentityRenamed = "identity_renamed",
    /// An identity has another seed.
    IdentityRotated = "identity_rotated",
    /// An identity may not authenticate.
    IdentityDisabled = "identity_disabled",
    /// An identity may authenticate again.
    IdentityEnabled = "identity_enabled",
    /// Failures no longer count against an identity.
    IdentityUnthrottled = "identity_unthrottled",
    /// An identity was removed.
    IdentityDeleted = "identity_deleted",
    /// An identity of another system was taken over.
    IdentityImported = "identity_imported",
    /// Seeds are sealed with another key.
    KeyRotated = "key_rotated",
    /// A sealing key was taken out of the key file.
    KeyRetired = "key_retired",
    /// Another configuration is in force.
    ConfigReloaded = "config_reloaded",
    /// Another configuration was refused.
    ConfigRefused = "config_refused",
    /// A process serves.
    ServeStarted = "serve_started",
    /// A process has ended as it was asked to.
    ServeEnded = "serve_ended",
    /// An attempt was denied.
    Denied = "denied",
    /// A request was refused before its credential was looked at.
    Refused = "refused",
    /// Failures of a principal have begun to delay its attempts.
    PrincipalAttacked = "principal_attacked",
    /// Failures of a source have begun to delay its attempts.
    SourceSlowed = "source_slowed",
    /// Failures of a principal at a source where it has authenticated have begun to delay its attempts there.
    TrustedSourceThrottled = "trusted_source_throttled",
    /// Denials were not written, since there were too many.
    AuditLost = "audit_lost",
    /// A file begins; the lines before are in another.
    AuditContinued = "audit_continued",
    /// A crash has left a line that was never finished, or lines that the head does not name.
    AuditRecovered = "audit_recovered",
    /// The disk is so full that lines which strangers cause are not written.
    AuditFull = "audit_full",
    /// The file did not end as it was left.
    AuditBroken = "audit_broken",
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// One event. What is none is left out of the line.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// What happened.
    #[serde(rename = "event")]
    pub kind: Kind,
    /// Where the request came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub door: Option<&'static str>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "principal")]
    pub subject: Option<PrincipalRef<'a>>,
    /// The number of the identity that it is about.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub id: Option<IdentityId>,
    /// Whom that was before.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "principal")]
    pub was: Option<PrincipalRef<'a>>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor<'a>>,
    /// The address it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// Why, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Why or what in words, for people.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bounded")]
    pub detail: Option<Cow<'a, str>>,
    /// Seconds that nobody gets a verdict now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<u64>,
    /// The id of a sealing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The digest of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<&'a str>,
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How many denials the line stands for, if they repeat one that has a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// When the first of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// When the last of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// How many lines are not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// The hash of the last line of the file before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// The bytes of a line that was never finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn_bytes: Option<usize>,
    /// Their SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn_hash: Option<String>,
    /// How many lines before were not named by the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_head: Option<u64>,
}

/// Who did something.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Actor<'a> {
    /// A principal that has proved itself.
    Principal(#[serde(serialize_with = "who")] PrincipalRef<'a>),
    /// A user of this machine, at the command line.
    User {
        /// The user of the process.
        uid: u32,
        /// Who logged in, whoever they became since (`/proc/self/loginuid`); none outside a session.
        #[serde(skip_serializing_if = "Option::is_none")]
        login_uid: Option<u32>,
    },
}

impl Actor<'static> {
    /// Returns the user of this process.
    pub fn user() -> Self {
        let login = fs::read_to_string("/proc/self/loginuid").ok();
        let login = login.and_then(|text| text.trim().parse().ok());
        Self::User {
            uid: rustix::process::getuid().as_raw(),
            login_uid: login.filter(|&uid| uid != u32::MAX),
        }
    }
}

impl Event<'_> {
    /// Makes an event without anything about it.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            door: None,
            route: None,
            subject: None,
            id: None,
            was: None,
            actor: None,
            source: None,
            request: None,
            reason: None,
            detail: None,
            delay: None,
            key: None,
            config: None,
            pid: None,
            count: None,
            first: None,
            last: None,
            lost: None,
            continues: None,
            torn_bytes: None,
            torn_hash: None,
            after_head: None,
        }
    }

    /// Returns the members of a JSON object, without its braces, in ASCII without control characters.
    pub(super) fn body(&self) -> String {
        let mut bytes = Vec::with_capacity(256);
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
        // There is no map with keys that are no text, and a vector takes everything.
        let _ = self.serialize(&mut serializer);
        let text = String::from_utf8(bytes).unwrap_or_default();
        let members = text.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        members.unwrap_or_default().to_owned()
    }
}

fn principal<S: Serializer>(it: &Option<PrincipalRef<'_>>, to: S) -> Result<S::Ok, S::Error> {
    match it {
        Some(it) => who(it, to),
        None => to.serialize_none(),
    }
}

fn who<S: Serializer>(it: &PrincipalRef<'_>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Who<'a> {
        name: &'a str,
        realm: &'a str,
    }

    Who {
        name: it.name(),
        realm: it.realm(),
    }
    .serialize(to)
}

fn number<S: Serializer>(it: &Option<IdentityId>, to: S) -> Result<S::Ok, S::Error> {
    it.map(|id| id.0).serialize(to)
}

fn bounded<S: Serializer>(it: &Option<Cow<'_, str>>, to: S) -> Result<S::Ok, S::Error> {
    let text = it.as_deref().unwrap_or_default();
    match text.char_indices().nth(DETAIL_CHARS) {
        None => to.serialize_str(text),
        Some((end, _)) => {
            let start = text.get(..end).unwrap_or_default();
            to.serialize_str(&format!("{start}…"))
        }
    }
}

/// JSON in which everything but visible ASCII is escaped, so that no name can draw on a terminal or
/// reorder what stands beside it.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for char in fragment.chars() {
            match char {
                ' '..='~' => writer.write_all(&[char as u8])?,
                _ => {
                    for unit in char.encode_utf16(&mut units) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Principal;

    #[test]
    fn names_are_escaped_ascii_and_read_back_alike() {
        let name = "a\u{1b}[2J\"\\\n\u{7f}\u{202e}é\u{1f600}/";
        let who = Principal::new(name, "r", 128).unwrap();
        let event = Event {
            subject: Some(who.as_ref()),
            ..Event::new(Kind::Denied)
        };
        let body = event.body();
        assert!(
            body.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{body}"
        );
        let read: serde_json::Value = serde_json::from_str(&format!("{{{body}}}")).unwrap();
        assert_eq!(read["event"], "denied");
        assert_eq!(read["subject"]["name"], name);
    }

    #[test]
    fn longest_event_fits_a_line() {
        let widest = "\u{1f600}".repeat(128);
        let who = Principal::new(&widest, &widest, 128).unwrap();
        let route = "\u{1f600}".repeat(64);
        let event = Event {
            subject: Some(who.as_ref()),
            was: Some(who.as_ref()),
            actor: Some(Actor::Principal(who.as_ref())),
            route: Some(&route),
            detail: Some("\u{1f600}".repeat(100_000).into()),
            ..Event::new(Kind::PrincipalAttacked)
        };
        let length = event.body().len();
        assert!(length + 1024 < super::super::chain::LINE, "{length}");
    }
}
