//! Finds where the next line goes, even if the file was altered.
//!
//! The head and the last line that this process wrote decide which line is the last one. An intruder who can write
//! the file can make a valid chain, but has neither.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use super::chain::{Hash, LINE, Link, Position};
use super::entry::Entry;
use super::event::{Event, Kind};
use super::verify::Reader;

/// The maximum number of incomplete lines that a search skips.
const TORN: u32 = 64;

/// Where the next line goes.
pub(super) struct Place {
    pub(super) last: Position,
    /// The lines to write before it.
    pub(super) notes: Vec<Entry>,
    /// Whether the last line has no newline.
    pub(super) is_torn: bool,
    /// How the file was altered; `None` if it was not.
    pub(super) broken: Option<&'static str>,
}

impl Place {
    pub(super) fn after(last: Position) -> Self {
        Self {
            last,
            notes: Vec::new(),
            is_torn: false,
            broken: None,
        }
    }
}

/// The end of the file after the last write of this process.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) end: u64,
    pub(super) last: Position,
}

/// What is known about the last line.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// The position in the head; `None` if the head is invalid.
    pub(super) head: Option<Position>,
    /// The last line that this process wrote, and where it ended, if that was in this file.
    pub(super) own: Option<Position>,
    pub(super) left: Option<Left>,
}

/// Examines the end of the file. Missing lines remain a gap in the chain.
pub(super) fn look(file: &File, end: u64, known: Known) -> io::Result<Place> {
    let mut tail = vec![0; usize::try_from(end).unwrap_or(usize::MAX).min(2 * LINE)];
    let start = end - tail.len() as u64;
    file.read_exact_at(&mut tail, start)?;
    let torn = tail.rsplit(|&byte| byte == b'\n').next();
    let torn = torn.unwrap_or_default();
    let lines = tail.get(..tail.len() - torn.len()).unwrap_or_default();
    let whole = lines.strip_suffix(b"\n");
    let line = whole.and_then(|whole| whole.rsplit(|&byte| byte == b'\n').next());
    let read = |line| Link::read(line).filter(|link| link.is_whole);
    // A line that lacks only its newline is complete.
    let unended = read(torn);
    let found = unended.as_ref().map(Some);
    let last = line.map(read);
    let found = found.or(last.as_ref().map(Option::as_ref));
    let is_only_torn = found.is_none() && tail.len() as u64 == end;
    let torn = Some(torn).filter(|torn| !torn.is_empty() && unended.is_none());

    let mut place = Place::after(known.head.unwrap_or(Position::START));
    place.is_torn = end > 0 && !tail.ends_with(b"\n");
    let mut notes = Vec::new();
    if let Some(torn) = torn {
        notes.push(Event {
            torn_bytes: Some(torn.len()),
            torn_hash: Some(Hash::of(torn).to_string()),
            ..Event::new(Kind::AuditRecovered)
        });
    }
    match (found, known.head) {
        (None, Some(head)) if is_only_torn => {
            if torn.is_some_and(|torn| !is_beginning(torn, head)) {
                place.broken = Some("cut");
            } else if head != Position::START {
                notes.push(Event {
                    continues: Some(head.hash.to_string()),
                    reason: known.left.map(|_| "emptied"),
                    ..Event::new(Kind::AuditContinued)
                });
            }
        }
        (Some(Some(link)), Some(head)) if link.position() == head => {}
        (Some(Some(link)), Some(head)) if link.seq > head.seq => {
            if follow(file, end, head)? {
                place.last = link.position();
                notes.push(Event {
                    after_head: Some(link.seq - head.seq),
                    ..Event::new(Kind::AuditRecovered)
                });
            } else {
                place.broken = Some("other_head");
            }
        }
        (Some(Some(link)), Some(head)) => {
            let is_cut = link.seq < head.seq;
            place.broken = Some(if is_cut { "cut" } else { "other_head" });
        }
        (Some(Some(link)), None) => {
            place.last = link.position();
            place.broken = Some("no_head");
        }
        (Some(None) | None, _) => place.broken = Some("altered"),
    }
    if let Some(own) = known.own {
        // The head may have been replaced, too.
        let is_behind = known
            .head
            .is_none_or(|head| head.seq < own.seq || head.seq == own.seq && head.hash != own.hash);
        let is_gone = match known.left {
            Some(left) if end > 0 => !is_there(file, end, left)? && !begins_after(file, end, own)?,
            _ => false,
        };
        if is_gone || is_behind && known.head.is_some() {
            place.broken = Some("rewritten");
        }
        if is_behind && place.last.seq < own.seq {
            place.last = own;
        }
    }
    if place.broken.is_some() {
        notes.push(Event {
            reason: place.broken,
            ..Event::new(Kind::AuditBroken)
        });
    }
    let now = SystemTime::now();
    let entry = |event: &Event<'_>| Entry {
        time: now,
        body: event.body(),
    };
    place.notes = notes.iter().map(entry).collect();
    Ok(place)
}

/// Returns whether an incomplete line is the beginning of the line after `head`. Nothing can be missing before the
/// first line.
fn is_beginning(torn: &[u8], head: Position) -> bool {
    if head == Position::START {
        return true;
    }
    let text = String::from_utf8_lossy(torn);
    let seq = text.split_once(r#","seq":"#).and_then(|(before, after)| {
        let is_time = before.starts_with(r#"{"time":""#) && before.matches('"').count() == 4;
        after.split_once(',').filter(|_| is_time)
    });
    seq.and_then(|(seq, _)| seq.parse().ok()) == head.seq.checked_add(1)
}

/// Returns whether the last line of this process is still where it was written.
fn is_there(file: &File, end: u64, left: Left) -> io::Result<bool> {
    if left.end > end || left.last == Position::START {
        return Ok(left.last == Position::START);
    }
    let mut text = vec![0; usize::try_from(left.end).unwrap_or(usize::MAX).min(LINE)];
    let start = left.end - text.len() as u64;
    file.read_exact_at(&mut text, start)?;
    let whole = text.strip_suffix(b"\n").unwrap_or(&text);
    let line = whole.rsplit(|&byte| byte == b'\n').next();
    let link = line.and_then(Link::read);
    Ok(link.is_some_and(|link| link.is_whole && link.position() == left.last))
}

/// Returns whether a truncated file continues after `last`, as another process does.
fn begins_after(file: &File, end: u64, last: Position) -> io::Result<bool> {
    let Some((first, _)) = next(file, 0, end)? else {
        return Ok(false);
    };
    let follows = Some(first.seq) == last.seq.checked_add(1) && first.prev == last.hash;
    let is_later = first.seq > last.seq && first.event == "audit_continued";
    Ok(follows || is_later)
}

/// Returns whether the lines after the head continue the chain, as after a crash.
fn follow(file: &File, end: u64, head: Position) -> io::Result<bool> {
    let Some(at) = after(file, end, head)? else {
        return Ok(false);
    };
    let mut lines = BufReader::new(file);
    lines.seek(SeekFrom::Start(at))?;
    let mut reader = Reader::after(head);
    reader.read_lines(lines, Path::new(""))?;
    Ok(reader.is_fine())
}

/// Returns where the line of the head ends, or 0 if the file begins after it; `None` if it is missing. A binary
/// search, because the numbers ascend.
fn after(file: &File, end: u64, head: Position) -> io::Result<Option<u64>> {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        match next(file, middle, high)? {
            Some((link, _)) if link.seq > head.seq => high = middle,
            Some((link, after)) if link.seq < head.seq => low = after,
            Some((link, after)) => return Ok((link.position() == head).then_some(after)),
            None => high = middle,
        }
    }
    let first = next(file, 0, end)?;
    let is_next = |link: &Link| Some(link.seq) == head.seq.checked_add(1) && link.prev == head.hash;
    Ok(first.filter(|(link, _)| is_next(link)).map(|_| 0))
}

/// Returns the first line that begins at `at` or later and before `before`, and where it ends.
fn next(file: &File, at: u64, before: u64) -> io::Result<Option<(Link, u64)>> {
    let mut lines = BufReader::new(file);
    let mut place = at.saturating_sub(1);
    lines.seek(SeekFrom::Start(place))?;
    let mut line = Vec::new();
    let mut piece = |line: &mut Vec<u8>| {
        line.clear();
        let length = (&mut lines).take(LINE as u64).read_until(b'\n', line)?;
        Ok::<_, io::Error>(length as u64)
    };
    if at > 0 {
        place += piece(&mut line)?;
    }
    for _ in 0..TORN {
        let length = piece(&mut line)?;
        if length == 0 || place >= before {
            break;
        }
        place += length;
        if let Some(link) = line.strip_suffix(b"\n").and_then(Link::read) {
            return Ok(Some((link, place)));
        }
    }
    Ok(None)
}
