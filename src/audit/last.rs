//! Reads the last lines of a log.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use super::event::Kind;

/// The maximum number of bytes read for a page, and at once.
const MOST: u64 = 16 << 20;
const PART: u64 = 64 << 10;

/// Which lines to return; `None` matches all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only lines about the principal with this name and realm, or by it.
    pub principal: Option<(String, String)>,
    /// Only lines about the identity with this id. With a principal: lines about either.
    pub id: Option<i64>,
    /// Only events of this kind.
    pub event: Option<Kind>,
    /// Only lines with this reason.
    pub reason: Option<&'static str>,
    /// Only lines from this time on, in RFC 3339 and UTC.
    pub since: Option<String>,
    /// Only lines before this time.
    pub until: Option<String>,
}

/// Lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The lines, newest first.
    pub lines: Vec<String>,
    /// Where to go on with the lines before; `None` at the beginning of the file, or of the time
    /// wanted.
    pub before: Option<String>,
}

/// Why the lines cannot be read.
#[derive(Debug, Error)]
pub enum LastError {
    /// The position is not one of this file.
    #[error("the position is not one of this file")]
    Cursor,
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Reads the last wanted lines before a position of an earlier page, at most `limit`.
///
/// # Errors
/// [`LastError`].
pub fn last(
    path: &Path,
    wanted: &Wanted,
    before: Option<&str>,
    limit: usize,
) -> Result<Page, LastError> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    let inode = about.ino();
    let mut end = match before {
        None => about.len(),
        Some(before) => {
            let parts = before.split_once('.');
            let parts = parts.and_then(|(inode, end)| {
                Some((inode.parse::<u64>().ok()?, end.parse::<u64>().ok()?))
            });
            match parts {
                Some((of, end)) if of == inode && end <= about.len() => end,
                _ => return Err(LastError::Cursor),
            }
        }
    };
    let least = end.saturating_sub(MOST);
    let mut page = Page::default();
    // The beginning of the part read before: the end of a line that begins further up.
    let mut rest = Vec::new();
    while end > least {
        let start = end.saturating_sub(PART).max(least);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(&mut bytes, start)?;
        bytes.append(&mut rest);
        let mut stop = bytes.len();
        // Of the part that begins in the middle of a line, all but that line.
        while let Some(at) = bytes.get(..stop).and_then(|it| memchr::memrchr(b'\n', it)) {
            let line = bytes.get(at + 1..stop).unwrap_or_default();
            let place = start + at as u64 + 1;
            match look(line, wanted) {
                Look::Wanted(line) => page.lines.push(line),
                Look::Other => {}
                Look::TooOld => return Ok(page),
            }
            stop = at;
            if page.lines.len() == limit {
                page.before = (place > 0).then(|| format!("{inode}.{place}"));
                return Ok(page);
            }
        }
        bytes.truncate(stop);
        rest = bytes;
        end = start;
    }
    if end == 0 {
        if let Look::Wanted(line) = look(&rest, wanted) {
            page.lines.push(line);
        }
    } else {
        page.before = Some(format!("{inode}.{}", end + rest.len() as u64));
    }
    Ok(page)
}

enum Look {
    Wanted(String),
    Other,
    /// This line and all before it are older than wanted.
    TooOld,
}

/// The members of a line by which it is selected.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    time: &'a str,
    #[serde(default)]
    event: &'a str,
    #[serde(default)]
    reason: Option<&'a str>,
    #[serde(default)]
    subject: Option<Who>,
    #[serde(default)]
    id: Option<i64>,
    #[serde(default)]
    was: Option<Who>,
    #[serde(default)]
    actor: Option<Who>,
}

#[derive(Deserialize)]
struct Who {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    realm: Option<String>,
}

fn look(line: &[u8], wanted: &Wanted) -> Look {
    // An incomplete line at the end of the file is not a line yet.
    let Ok(text) = str::from_utf8(line) else {
        return Look::Other;
    };
    let Ok(line) = serde_json::from_str::<Line<'_>>(text) else {
        return Look::Other;
    };
    // Times of the same form sort as texts, up to the fraction of a second.
    let second = |time: &str| time.get(..19).unwrap_or_default().to_owned();
    let time = second(line.time);
    if wanted
        .since
        .as_deref()
        .is_some_and(|since| time < second(since))
    {
        return Look::TooOld;
    }
    let is_early = wanted
        .until
        .as_deref()
        .is_none_or(|until| time < second(until));
    let is_event = wanted.event.is_none_or(|it| it.as_str() == line.event);
    let is_reason = wanted.reason.is_none_or(|it| Some(it) == line.reason);
    let is_of = wanted.id.map(|id| line.id == Some(id));
    let is_by = wanted.principal.as_ref().map(|(name, realm)| {
        [&line.subject, &line.was, &line.actor]
            .into_iter()
            .flatten()
            .any(|who| who.name.as_ref() == Some(name) && who.realm.as_ref() == Some(realm))
    });
    let is_about = is_of
        .into_iter()
        .chain(is_by)
        .reduce(|one, other| one || other);
    let is_about = is_about.unwrap_or(true);
    match is_early && is_event && is_reason && is_about {
        true => Look::Wanted(text.to_owned()),
        false => Look::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn log(lines: usize) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut text = String::new();
        for n in 0..lines {
            let (minute, second) = (n / 60, n % 60);
            let name = ["a", "b"][n % 2];
            writeln!(text, r#"{{"time":"2026-11-24T22:{minute:02}:{second:02}.000Z","seq":{n},"event":"denied","subject":{{"name":"{name}","realm":"r"}},"reason":"wrong_token"}}"#).unwrap();
        }
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn numbers(page: &Page) -> Vec<u64> {
        let number = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["seq"].as_u64().unwrap()
        };
        page.lines.iter().map(number).collect()
    }

    #[test]
    fn pages_have_each_line_once_newest_first() {
        // More than a part.
        let (_folder, path) = log(1500);
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let page = last(&path, &Wanted::default(), before.as_deref(), 7).unwrap();
            all.extend(numbers(&page));
            before = page.before;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(all, (0..1500).rev().collect::<Vec<_>>());
    }

    #[test]
    fn lines_are_selected_by_principal_and_time() {
        let (_folder, path) = log(100);
        let wanted = Wanted {
            principal: Some(("a".into(), "r".into())),
            since: Some("2026-11-24T22:00:10Z".into()),
            until: Some("2026-11-24T22:00:15Z".into()),
            ..Wanted::default()
        };
        let page = last(&path, &wanted, None, 10).unwrap();
        assert_eq!((numbers(&page), page.before), (vec![14, 12, 10], None));
        for wanted in [
            Wanted {
                event: Some(Kind::Observed),
                ..Wanted::default()
            },
            Wanted {
                reason: Some("expired"),
                ..Wanted::default()
            },
        ] {
            assert!(last(&path, &wanted, None, 10).unwrap().lines.is_empty());
        }
    }

    #[test]
    fn lines_of_an_identity_are_found_by_its_id_or_its_principal() {
        let (_folder, path) = log(4);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str(r#"{"time":"2026-11-24T22:00:04.000Z","seq":4,"event":"identity_renamed","subject":{"name":"c","realm":"r"},"id":7}"#);
        text.push('\n');
        std::fs::write(&path, text).unwrap();
        let a = Some(("a".to_owned(), "r".to_owned()));
        for (principal, id, expected) in [
            (None, Some(7), vec![4]),
            (a.clone(), Some(7), vec![4, 2, 0]),
            (a, None, vec![2, 0]),
            (None, Some(8), vec![]),
        ] {
            let wanted = Wanted {
                principal,
                id,
                ..Wanted::default()
            };
            let page = last(&path, &wanted, None, 10).unwrap();
            assert_eq!(numbers(&page), expected);
        }
    }

    #[test]
    fn incomplete_line_is_left_out() {
        let (_folder, path) = log(2);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str(r#"{"time":"2026"#);
        std::fs::write(&path, text).unwrap();
        let page = last(&path, &Wanted::default(), None, 10).unwrap();
        assert_eq!(numbers(&page), [1, 0]);
    }

    #[test]
    fn position_of_another_file_is_rejected() {
        let (_folder, path) = log(3);
        for before in ["", "1", "1.2", "x.y", "18446744073709551616.0"] {
            let read = last(&path, &Wanted::default(), Some(before), 1);
            assert!(matches!(read, Err(LastError::Cursor)), "{before}");
        }
    }
}
