//! What a change has replaced.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::auth::{Terms, UnixTime};
use crate::clock;

/// The maximum length of an old or new value, in characters.
const VALUE_CHARS: usize = 128;

/// The members of an identity that a change has replaced, none of which is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Values>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Values>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<Values>,
}

/// A value before and after a change; `None` if there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Values {
    old: Option<String>,
    new: Option<String>,
}

impl Changes {
    /// Compares the terms before and after a change; `None` if they are equal.
    pub fn of(old: &Terms, new: &Terms) -> Option<Self> {
        let comment = |terms: &Terms| {
            terms
                .comment
                .as_deref()
                .map(|it| cut(it, VALUE_CHARS).into_owned())
        };
        let changes = Self {
            not_before: Values::of(old.not_before.map(time), new.not_before.map(time)),
            expires: Values::of(old.expires.map(time), new.expires.map(time)),
            comment: match old.comment == new.comment {
                true => None,
                false => Some(Values {
                    old: comment(old),
                    new: comment(new),
                }),
            },
        };
        (old != new).then_some(changes)
    }
}

impl Values {
    fn of(old: Option<String>, new: Option<String>) -> Option<Self> {
        (old != new).then_some(Self { old, new })
    }
}

/// Writes a time as RFC 3339 does, in UTC.
fn time(time: UnixTime) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    let time = clock::within(time.unwrap_or_else(|| clock::after(Duration::MAX)));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Returns a text, or its first `most` characters and an ellipsis.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_that_differ_are_named() {
        let old = Terms {
            expires: Some(UnixTime::from_secs(4_102_444_800)),
            comment: Some("nightly".into()),
            ..Terms::default()
        };
        assert_eq!(Changes::of(&old, &old), None);
        let new = Terms {
            not_before: Some(UnixTime::from_secs(0)),
            expires: None,
            ..old.clone()
        };
        let text = serde_json::to_string(&Changes::of(&old, &new)).unwrap();
        assert_eq!(
            text,
            r#"{"not_before":{"old":null,"new":"1970-01-01T00:00:00Z"},"expires":{"old":"2100-01-01T00:00:00Z","new":null}}"#
        );
    }

    #[test]
    fn long_comments_are_cut() {
        let terms = |text: &str| Terms {
            comment: Some(text.into()),
            ..Terms::default()
        };
        let changes = Changes::of(&terms("a"), &terms(&"\u{1f600}".repeat(256))).unwrap();
        let comment = changes.comment.unwrap();
        assert_eq!(comment.old.as_deref(), Some("a"));
        assert_eq!(comment.new.unwrap().chars().count(), VALUE_CHARS + 1);
    }
}
