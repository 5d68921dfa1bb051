//! The content of a line: the event.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::changes::{Changes, cut};
use crate::auth::{IdentityId, PrincipalRef};

/// The maximum length of a text from elsewhere, in characters.
const DETAIL_CHARS: usize = 512;

/// Defines the kinds of events with their stable names.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $name:literal,)+) => {
        /// The kind of an event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])+ $kind,)+
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// Returns the stable name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// An identity was created.
    IdentityCreated = "identity_created",
    /// The seed of an identity was shown again, to the repeated request that created it.
    IdentityShown = "identity_shown",
    /// The validity or the comment of an identity was changed.
    IdentityChanged = "identity_changed",
    /// An identity got another name or realm.
    IdentityRenamed = "identity_renamed",
    /// An identity got a new seed.
    IdentityRotated = "identity_rotated",
    /// An identity was disabled.
    IdentityDisabled = "identity_disabled",
    /// An identity was enabled again.
    IdentityEnabled = "identity_enabled",
    /// The failures of an identity were cleared.
    IdentityUnthrottled = "identity_unthrottled",
    /// An identity was deleted.
    IdentityDeleted = "identity_deleted",
    /// An identity was imported from another system.
    IdentityImported = "identity_imported",
    /// An administrator has logged in to the admin page.
    SessionStarted = "session_started",
    /// A link was made that logs in to the admin page once.
    LinkCreated = "login_link_created",
    /// A session of the admin page was ended before its time.
    SessionEnded = "session_ended",
    /// Seeds are encrypted with a new key.
    KeyRotated = "key_rotated",
    /// A key was removed from the key file.
    KeyRetired = "key_retired",
    /// The identities of another database were copied to an empty one.
    StoreCopied = "store_copied",
    /// A new configuration is active.
    ConfigReloaded = "config_reloaded",
    /// A new configuration was rejected.
    ConfigRejected = "config_refused",
    /// A new configuration opens, closes or changes what routes do.
    PolicyChanged = "policy_changed",
    /// A process started to serve.
    ServeStarted = "serve_started",
    /// A process shut down.
    ServeEnded = "serve_ended",
    /// An attempt was denied.
    Denied = "denied",
    /// A request that its policy denies passed, because the route only observes.
    Observed = "observed",
    /// A request was rejected before its credential was read.
    Rejected = "refused",
    /// A principal is throttled because of failures.
    PrincipalAttacked = "principal_attacked",
    /// A source is throttled because of failures.
    SourceSlowed = "source_slowed",
    /// A principal is throttled at a source where it has authenticated before.
    TrustedSourceThrottled = "trusted_source_throttled",
    /// Denials were not written because there were too many.
    AuditLost = "audit_lost",
    /// A new file begins; the lines before are in another file.
    AuditContinued = "audit_continued",
    /// A crash left an incomplete line, or lines after the head.
    AuditRecovered = "audit_recovered",
    /// The disk is so full that denials are not written.
    AuditFull = "audit_full",
    /// The file was altered by another process.
    AuditBroken = "audit_broken",
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// An event. The line omits fields that are none.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// The kind.
    #[serde(rename = "event")]
    pub kind: Kind,
    /// The door of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub door: Option<&'static str>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// The principal that the event is about.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "principal")]
    pub subject: Option<PrincipalRef<'a>>,
    /// The id of its identity.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub id: Option<IdentityId>,
    /// Its name and realm before a rename.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "principal")]
    pub was: Option<PrincipalRef<'a>>,
    /// The members that were changed, with their values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// The author of the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor<'a>>,
    /// How the author was authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<&'static str>,
    /// The source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// The reason, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The reason or details in words.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bounded")]
    pub detail: Option<Cow<'a, str>>,
    /// The delay in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<u64>,
    /// The id of an encryption key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The digest of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<&'a str>,
    /// The process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The number of repeated denials that the line stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The time of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// The time of the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// The number of denials that were not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// The hash of the last line of the file before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// The length of an incomplete line in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn_bytes: Option<usize>,
    /// The SHA-256 of these bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn_hash: Option<String>,
    /// The number of lines before that were after the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_head: Option<u64>,
}

/// The author of a change.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Actor<'a> {
    /// An authenticated principal.
    Principal(#[serde(serialize_with = "who")] PrincipalRef<'a>),
    /// A user of this machine, on the command line.
    User {
        /// The user of the process.
        uid: u32,
        /// The user that logged in (`/proc/self/loginuid`); none outside a session.
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
    /// Makes an event of a kind, without other fields.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            door: None,
            route: None,
            subject: None,
            id: None,
            was: None,
            changes: None,
            actor: None,
            proof: None,
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

    /// Returns the members of the JSON object without the braces, in ASCII without control characters.
    pub(super) fn body(&self) -> String {
        let mut bytes = Vec::with_capacity(256);
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
        // Serialization fails only for maps with other keys than strings, or if the writer fails.
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
    to.serialize_str(&cut(it.as_deref().unwrap_or_default(), DETAIL_CHARS))
}

/// Formats JSON with everything but visible ASCII escaped, so that a name cannot control a terminal or reorder the
/// text beside it.
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
    use crate::auth::{Principal, Terms, UnixTime};

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
        let terms = |text: &str| Terms {
            comment: Some(text.repeat(256).into()),
            not_before: Some(UnixTime::from_secs(text.len() as u64)),
            expires: Some(UnixTime::from_secs(text.len() as u64)),
        };
        let event = Event {
            changes: Changes::of(&terms("\u{1f600}"), &terms("\u{1f601}!")),
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
