//! The hash chain: each line contains its own hash and that of the line before.
//!
//! A line is an ASCII JSON object that begins with `time` and `seq` and ends with `prev` and `hash`. `hash`
//! is the SHA-256 of everything before `,"hash":`.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::clock;

/// The maximum length of a line in bytes, with its newline. A name of 128 characters takes at most 1536 when escaped.
pub(super) const LINE: usize = 32 * 1024;
/// The bytes of `,"hash":"…"}`.
const SEAL: usize = 9 + 64 + 2;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAPosition)?;
        Ok(Self(bytes.try_into().map_err(|_| NotAPosition)?))
    }
}

impl TryFrom<String> for Hash {
    type Error = NotAPosition;

    fn try_from(text: String) -> Result<Self, NotAPosition> {
        text.parse()
    }
}

/// A position in the chain: the number of a line and its hash, as text `SEQ:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

impl Position {
    /// The position before the first line.
    pub(super) const START: Self = Self {
        seq: 0,
        hash: Hash([0; 32]),
    };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (seq, hash) = text.split_once(':').ok_or(NotAPosition)?;
        Ok(Self {
            seq: seq.parse().map_err(|_| NotAPosition)?,
            hash: hash.parse()?,
        })
    }
}

/// The text is not a line number, a colon and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected SEQ:HASH as `realmgate audit verify` prints it")]
pub struct NotAPosition;

/// Appends the line after `last` to `text` and returns its position. `body` has the members of a JSON object,
/// without the braces.
pub(super) fn write_line(
    text: &mut String,
    last: Position,
    time: SystemTime,
    body: &str,
) -> Position {
    let start = text.len();
    let time = humantime::format_rfc3339_millis(clock::within(time));
    let (seq, prev) = (last.seq + 1, last.hash);
    // Writing to a `String` does not fail.
    let _ = write!(
        text,
        r#"{{"time":"{time}","seq":{seq},{body},"prev":"{prev}""#
    );
    let hash = Hash::of(text.as_bytes().get(start..).unwrap_or_default());
    let _ = writeln!(text, r#","hash":"{hash}"}}"#);
    Position { seq, hash }
}

/// The chain data of a line.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) prev: Hash,
    pub(super) hash: Hash,
    /// Whether the hash matches the line.
    pub(super) is_whole: bool,
    /// The name of the event.
    pub(super) event: String,
    /// The reason, if the line has one.
    pub(super) reason: Option<String>,
    /// The length of the incomplete line before, and its hash.
    pub(super) torn: Option<Torn>,
    /// The number of lines before that were after the head.
    pub(super) after_head: u64,
}

/// An incomplete line, as left by a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) bytes: usize,
    pub(super) hash: Hash,
}

impl Link {
    /// Reads a line without its newline; `None` if it is not a line of the log.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members {
            seq: u64,
            event: String,
            reason: Option<String>,
            torn_bytes: Option<usize>,
            #[serde(default)]
            torn_hash: Option<String>,
            #[serde(default)]
            after_head: u64,
            prev: String,
            hash: String,
        }

        let members: Members = serde_json::from_slice(line).ok()?;
        let hash: Hash = members.hash.parse().ok()?;
        let (sealed, seal) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
        let is_sealed = seal == format!(r#","hash":"{hash}"}}"#).as_bytes();
        let torn = match (members.torn_bytes, members.torn_hash) {
            (Some(bytes), Some(hash)) => Some(Torn {
                bytes,
                hash: hash.parse().ok()?,
            }),
            _ => None,
        };
        Some(Self {
            seq: members.seq,
            prev: members.prev.parse().ok()?,
            is_whole: is_sealed && Hash::of(sealed) == hash,
            hash,
            event: members.event,
            reason: members.reason,
            torn,
            after_head: members.after_head,
        })
    }

    pub(super) fn position(&self) -> Position {
        Position {
            seq: self.seq,
            hash: self.hash,
        }
    }
}

/// Formats the head: the position of the last line on disk. All heads have the same length, so that one write
/// replaces the old one.
pub(super) fn write_head(at: Position) -> String {
    format!("{{\"seq\":{:<20},\"hash\":\"{}\"}}\n", at.seq, at.hash)
}

/// Parses a head.
pub(super) fn read_head(text: &[u8]) -> Option<Position> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Members {
        seq: u64,
        hash: String,
    }

    let members: Members = serde_json::from_slice(text).ok()?;
    Some(Position {
        seq: members.seq,
        hash: members.hash.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn line_is_an_object_with_the_hash_of_what_stands_before() {
        let mut text = String::new();
        let time = UNIX_EPOCH + Duration::from_millis(1_500);
        let first = write_line(&mut text, Position::START, time, r#""event":"a""#);
        let zeros = "0".repeat(64);
        let sealed =
            format!(r#"{{"time":"1970-01-01T00:00:01.500Z","seq":1,"event":"a","prev":"{zeros}""#);
        let hash = Hash::of(sealed.as_bytes());
        assert_eq!(text, format!("{sealed},\"hash\":\"{hash}\"}}\n"));
        assert_eq!(first, Position { seq: 1, hash });
        let link = Link::read(text.trim_end().as_bytes()).unwrap();
        assert!(link.is_whole);
        assert_eq!((link.position(), link.prev), (first, Position::START.hash));
        assert_eq!(first.to_string().parse(), Ok(first));
    }

    #[test]
    fn line_with_any_other_byte_is_not_whole() {
        let mut text = String::new();
        write_line(
            &mut text,
            Position::START,
            UNIX_EPOCH,
            r#""event":"denied""#,
        );
        let line = text.trim_end().as_bytes();
        for at in 0..line.len() {
            let mut altered = line.to_vec();
            altered[at] ^= 1;
            let link = Link::read(&altered);
            assert!(
                link.is_none_or(|link| !link.is_whole),
                "byte {at} of {text}"
            );
        }
        let spaced = text.trim_end().replace(",\"hash\"", " ,\"hash\"");
        assert!(!Link::read(spaced.as_bytes()).unwrap().is_whole);
    }

    #[test]
    fn heads_have_one_length() {
        let mut last = Position::START;
        let short = write_head(last);
        last.seq = u64::MAX;
        let long = write_head(last);
        assert_eq!(short.len(), long.len());
        assert_eq!(read_head(long.as_bytes()), Some(last));
        assert_eq!(read_head(b"{\"seq\":1}"), None);
        assert_eq!(read_head(b""), None);
    }
}
