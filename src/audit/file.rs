//! The log file and its head. Other processes write them, too, and log rotation may move the file.
//!
//! The head, `FILE.head`, holds the position of the last line on disk, and is the file that processes lock. A line
//! is synced before the head names it. So after a crash there may be lines after the head, but none are missing.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::chain::{Position, read_head, write_head, write_line};
use super::disk::{Use, head_path, is_at, is_full, open};
use super::entry::Entry;
use super::place::{Known, Left, Place, look};
use super::reserve::Reserve;
use crate::files;

/// The maximum wait for the lock of another process, and the interval between attempts.
const LOCK: Duration = Duration::from_secs(5);
const LOCK_AGAIN: Duration = Duration::from_millis(1);

/// A log that lines can be added to.
pub(super) struct Log {
    path: PathBuf,
    /// The member with the name of the node, and a comma; empty for none.
    node: String,
    head_path: PathBuf,
    head: File,
    reserve: Reserve,
    open: Option<Open>,
    /// The last line that this process wrote, in this or an earlier file.
    own: Option<Position>,
}

/// Which space on the disk may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Free space only.
    Common,
    /// Also the reserve for changes.
    Reserved,
}

/// The open file.
struct Open {
    file: File,
    end: u64,
    last: Position,
    /// Its end after the last write of this process.
    left: Option<Left>,
    /// Whether the next line needs no line before it that explains a gap.
    is_clean: bool,
}

impl Log {
    /// Opens a log. Creates missing files with mode 0600.
    ///
    /// # Errors
    /// A file cannot be opened for reading and writing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let head_path = head_path(path);
        let mut log = Self {
            head: open(&head_path, Use::Head, None)?,
            head_path,
            reserve: Reserve::of(path),
            path: path.into(),
            node: String::new(),
            open: None,
            own: None,
        };
        log.locked(|log| log.catch_up().map(drop))?;
        Ok(log)
    }

    /// Writes the name of the node into each line. The name consists of characters that JSON does not
    /// escape.
    pub(super) fn of_node(mut self, node: &str) -> Self {
        self.node = format!(r#""node":"{node}","#);
        self
    }

    /// Returns the position of the last line.
    pub(super) fn last(&self) -> Position {
        self.open.as_ref().map_or(Position::START, |open| open.last)
    }

    /// Appends lines, after lines that explain a gap if there is one. They are on disk when this returns. Returns
    /// how the file was altered, if it was.
    ///
    /// # Errors
    /// The lines are not in the log.
    pub(super) fn append(
        &mut self,
        entries: &[&Entry],
        room: Room,
    ) -> io::Result<Option<&'static str>> {
        self.locked(|log| {
            loop {
                let done = log.catch_up().and_then(|place| {
                    log.write(&place, entries)?;
                    Ok(place.broken)
                });
                match done {
                    Err(error)
                        if room == Room::Reserved
                            && is_full(&error)
                            && log.reserve.give_up()? => {}
                    done => return done,
                }
            }
        })
    }

    /// Returns whether the disk has room for denials. If so, fills the reserve.
    ///
    /// # Errors
    /// The free space cannot be read.
    pub(super) fn has_room(&mut self) -> io::Result<bool> {
        self.locked(|log| log.reserve.fill(&log.head.metadata()?))
    }

    /// Makes room for a change and for `bytes` of lines, from the reserve if necessary.
    ///
    /// # Errors
    /// There is no room, or the file cannot be written.
    pub(super) fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        self.locked(|log| {
            log.reserve.make_room()?;
            log.catch_up()?;
            let open = log.open.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let end = open.end.saturating_add(bytes);
            if files::longest().is_some_and(|longest| end > longest) {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            loop {
                match files::allocate(&open.file, open.end, bytes) {
                    Err(error) if is_full(&error) && log.reserve.give_up()? => {}
                    done => return done,
                }
            }
        })
    }

    /// Calls `work` under the lock that all processes share.
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
            // The head may have been replaced; other processes then lock the new one.
            if is_at(&self.head.metadata()?, &self.head_path)? {
                break;
            }
            self.head = open(&self.head_path, Use::Head, None)?;
        }
        let outcome = work(self);
        self.head.unlock()?;
        outcome
    }

    /// Finds where the next line goes, even if the file was altered.
    fn catch_up(&mut self) -> io::Result<Place> {
        let mut text = [0; 256];
        let length = self.head.read_at(&mut text, 0)?;
        let mut head = text.get(..length).and_then(read_head);
        if let Some(open) = &self.open {
            let metadata = open.file.metadata()?;
            if is_at(&metadata, &self.path)? {
                if open.is_clean && metadata.len() == open.end && head == Some(open.last) {
                    return Ok(Place::after(open.last));
                }
            } else {
                self.open = None;
            }
        }
        let (file, left) = match self.open.take() {
            Some(open) => (open.file, open.left),
            None => {
                let like = self.head.metadata()?;
                (open(&self.path, Use::Lines, Some(&like))?, None)
            }
        };
        let end = file.metadata()?.len();
        if length == 0 && end == 0 {
            self.write_head(Position::START)?;
            head = Some(Position::START);
        }
        let known = Known {
            head,
            own: self.own,
            left,
        };
        let place = look(&file, end, known);
        let is_clean = |place: &Place| place.notes.is_empty() && !place.is_torn;
        self.open = Some(Open {
            file,
            end,
            last: place.as_ref().map_or(Position::START, |place| place.last),
            left,
            is_clean: place.as_ref().is_ok_and(is_clean),
        });
        place
    }

    fn write(&mut self, place: &Place, entries: &[&Entry]) -> io::Result<()> {
        let open = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let mut text = String::new();
        if place.is_torn {
            text.push('\n');
        }
        let mut last = place.last;
        for entry in place.notes.iter().chain(entries.iter().copied()) {
            let body = format!("{}{}", self.node, entry.body);
            last = write_line(&mut text, last, entry.time, &body);
        }
        if text.is_empty() {
            return Ok(());
        }
        let written = (&open.file).write_all(text.as_bytes());
        if let Err(error) = written.and_then(|()| open.file.sync_data()) {
            // Removes a partial write. If that fails, it remains as an incomplete line.
            let _ = open.file.set_len(open.end);
            return Err(error);
        }
        open.end += text.len() as u64;
        open.last = last;
        open.is_clean = true;
        let left = Left {
            end: open.end,
            last,
        };
        self.write_head(last)?;
        // Only after the head was written, because otherwise it is behind.
        self.own = Some(last);
        if let Some(open) = &mut self.open {
            open.left = Some(left);
        }
        Ok(())
    }

    fn write_head(&self, last: Position) -> io::Result<()> {
        self.head.write_all_at(write_head(last).as_bytes(), 0)
    }
}
