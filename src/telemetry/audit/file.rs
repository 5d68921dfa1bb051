//! The file and its head, shared with other processes and taken away by whoever rotates logs.
//!
//! The head, `FILE.head`, is the place of the last line that is on disk, and what processes lock. A line is
//! synced before the head names it. So after a crash there may be lines after the head, and never fewer.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::chain::{Hash, LINE, Link, Position, read_head, write_head, write_line};
use super::event::{Event, Kind};
use crate::files;

/// The longest wait for another process that adds lines, and how often it is looked whether it has ended.
const LOCK: Duration = Duration::from_secs(5);
const LOCK_AGAIN: Duration = Duration::from_millis(1);

/// What stands in a line beside its place.
pub(super) struct Entry {
    pub(super) time: SystemTime,
    pub(super) body: String,
}

/// A log that lines can be added to.
pub(super) struct Log {
    path: PathBuf,
    head_path: PathBuf,
    head: File,
    open: Option<Open>,
}

/// The file as it was left.
struct Open {
    file: File,
    end: u64,
    last: Position,
    /// Whether nothing has to be said before the next line.
    is_clean: bool,
}

/// Where the next line goes.
struct Place {
    last: Position,
    /// What has to be said before it.
    notes: Vec<Entry>,
    /// Whether the last line has no end.
    is_torn: bool,
}

/// Returns where the head of a log is.
pub(super) fn head_path(path: &Path) -> PathBuf {
    let mut head = path.as_os_str().to_owned();
    head.push(".head");
    head.into()
}

impl Log {
    /// Opens a log, and makes its files if they are not there, with mode 0600.
    ///
    /// # Errors
    /// They cannot be read and written.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let head_path = head_path(path);
        let mut log = Self {
            head: open(&head_path, Use::Head, None)?,
            head_path,
            path: path.into(),
            open: None,
        };
        log.locked(|log| log.catch_up().map(drop))?;
        Ok(log)
    }

    /// Returns the place of the last line.
    pub(super) fn last(&self) -> Position {
        self.open.as_ref().map_or(Position::START, |open| open.last)
    }

    /// Adds lines. They are on disk when it returns.
    ///
    /// # Errors
    /// They are not in the log.
    pub(super) fn append(&mut self, entries: &[&Entry]) -> io::Result<()> {
        self.locked(|log| {
            let place = log.catch_up()?;
            log.write(&place, entries)
        })
    }

    /// Does something while no other process adds lines.
    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let deadline = Instant::now() + LOCK;
        loop {
            match self.head.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "another process holds its lock",
                    ));
                }
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(LOCK_AGAIN);
                    continue;
                }
            }
            // Somebody may have put another file in its place, which others lock.
            if is_at(&self.head.metadata()?, &self.head_path)? {
                break;
            }
            self.head = open(&self.head_path, Use::Head, None)?;
        }
        let outcome = work(self);
        self.head.unlock()?;
        outcome
    }

    /// Finds out where the next line goes, whatever has become of the file since.
    fn catch_up(&mut self) -> io::Result<Place> {
        let mut text = [0; 256];
        let length = self.head.read_at(&mut text, 0)?;
        let mut head = text.get(..length).and_then(read_head);
        if let Some(open) = &self.open {
            let metadata = open.file.metadata()?;
            if is_at(&metadata, &self.path)? {
                if open.is_clean && metadata.len() == open.end && head == Some(open.last) {
                    return Ok(Place {
                        last: open.last,
                        notes: Vec::new(),
                        is_torn: false,
                    });
                }
            } else {
                self.open = None;
            }
        }
        let file = match self.open.take() {
            Some(open) => open.file,
            None => open(&self.path, Use::Lines, Some(&self.head.metadata()?))?,
        };
        let end = file.metadata()?.len();
        if length == 0 && end == 0 {
            self.write_head(Position::START)?;
            head = Some(Position::START);
        }
        let place = place(&file, end, head)?;
        self.open = Some(Open {
            file,
            end,
            last: place.last,
            is_clean: place.notes.is_empty() && !place.is_torn,
        });
        Ok(place)
    }

    fn write(&mut self, place: &Place, entries: &[&Entry]) -> io::Result<()> {
        let open = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let mut text = String::new();
        if place.is_torn {
            text.push('\n');
        }
        let mut last = place.last;
        for entry in place.notes.iter().chain(entries.iter().copied()) {
            last = write_line(&mut text, last, entry.time, &entry.body);
        }
        let written = (&open.file).write_all(text.as_bytes());
        if let Err(error) = written.and_then(|()| open.file.sync_data()) {
            // What is there of it says nothing. If it stays, it is a torn line.
            let _ = open.file.set_len(open.end);
            return Err(error);
        }
        open.end += text.len() as u64;
        open.last = last;
        open.is_clean = true;
        self.write_head(last)
    }

    fn write_head(&self, last: Position) -> io::Result<()> {
        self.head.write_all_at(write_head(last).as_bytes(), 0)
    }
}

/// Looks at the end of a file. The head decides what the last line was: what is not there although the head
/// names it stays a gap.
fn place(file: &File, end: u64, head: Option<Position>) -> io::Result<Place> {
    let mut tail = vec![0; usize::try_from(end).unwrap_or(usize::MAX).min(2 * LINE)];
    let start = end - tail.len() as u64;
    file.read_exact_at(&mut tail, start)?;
    let torn = tail.rsplit(|&byte| byte == b'\n').next();
    let torn = torn.unwrap_or_default();
    let lines = tail.get(..tail.len() - torn.len()).unwrap_or_default();
    let whole = lines.strip_suffix(b"\n");
    let line = whole.and_then(|whole| whole.rsplit(|&byte| byte == b'\n').next());
    let read = |line| Link::read(line).filter(|link| link.is_whole);
    // Of a line that lacks its end alone nothing is lost.
    let unended = read(torn);
    let mut notes = Vec::new();
    if !torn.is_empty() && unended.is_none() {
        notes.push(Event {
            torn_bytes: Some(torn.len()),
            torn_hash: Some(Hash::of(torn).to_string()),
            ..Event::new(Kind::AuditRecovered)
        });
    }
    let found = unended.map(Some).or_else(|| line.map(read));
    let mut broken = |reason| {
        notes.push(Event {
            reason: Some(reason),
            ..Event::new(Kind::AuditBroken)
        });
    };
    let last = match (found, head) {
        // A new file.
        (None, Some(head)) if tail.len() as u64 == end => {
            if head != Position::START {
                notes.push(Event {
                    continues: Some(head.hash.to_string()),
                    ..Event::new(Kind::AuditContinued)
                });
            }
            head
        }
        (Some(Some(link)), Some(head)) if link.position() == head || link.seq > head.seq => {
            link.position()
        }
        (Some(Some(link)), Some(head)) => {
            broken(if link.seq < head.seq {
                "cut"
            } else {
                "other_head"
            });
            head
        }
        (Some(Some(link)), None) => {
            broken("no_head");
            link.position()
        }
        (Some(None) | None, head) => {
            broken("altered");
            head.unwrap_or(Position::START)
        }
    };
    let now = SystemTime::now();
    let entry = |event: &Event<'_>| Entry {
        time: now,
        body: event.body(),
    };
    Ok(Place {
        last,
        notes: notes.iter().map(entry).collect(),
        is_torn: !torn.is_empty(),
    })
}

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Lines are added to it.
    Lines,
    /// It is written over.
    Head,
}

/// Opens a file, and makes it if it is not there. A file that root makes belongs to whom `like` belongs to,
/// or its folder: root's commands must not lock the service out.
fn open(path: &Path, of: Use, like: Option<&Metadata>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .append(of == Use::Lines)
        .mode(0o600);
    match files::open(&mut options, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let file = match files::open(options.create_new(true), path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return files::open(options.create_new(false), path);
        }
        made => made?,
    };
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if file.metadata()?.uid() == 0 {
        let owner = match like {
            Some(like) => like.clone(),
            None => folder.metadata()?,
        };
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Says whether an open file is the one at a path.
fn is_at(open: &Metadata, path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
