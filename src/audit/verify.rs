//! Verifies log files against the chain and the head.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::chain::{Hash, LINE, Link, Position, Torn, read_head};
use super::disk::head_path;

/// The maximum number of findings. One altered line causes a few.
const FINDINGS: usize = 100;

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of lines.
    pub lines: u64,
    /// The position of the first line.
    pub first: Option<Position>,
    /// The position of the last line.
    pub last: Option<Position>,
    /// Errors, at most 100.
    pub breaks: Vec<Finding>,
    /// Notes, at most 100.
    pub notes: Vec<Finding>,
}

/// An error or a note.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line number, from 1; `None` if the finding is about the file.
    pub line: Option<u64>,
    /// A stable code.
    pub code: &'static str,
    /// The message for people.
    pub message: String,
}

/// Why a verification is not possible.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("{0}: cannot be read")]
    Read(PathBuf, #[source] io::Error),
    /// The head is missing.
    #[error(
        "{0}: does not exist, so truncation cannot be detected; use --no-head to verify without it"
    )]
    NoHead(PathBuf),
}

/// Verifies files, oldest first, against the chain, the head of the last one if `has_head`, and positions from
/// another log. If `is_whole`, the first line must exist.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(
    files: &[PathBuf],
    has_head: bool,
    is_whole: bool,
    noted: &[Position],
) -> Result<Report, VerifyError> {
    let mut reader = Reader {
        is_whole,
        ..Reader::default()
    };
    // Read before the lines, because a process that appends lines writes the head after them.
    if let (Some(last), true) = (files.last(), has_head) {
        let path = head_path(last);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => VerifyError::NoHead(path.clone()),
            _ => VerifyError::Read(path.clone(), error),
        })?;
        match read_head(&text) {
            Some(head) => reader.head = Some((path, head, false)),
            None => reader.found(
                &path,
                None,
                "bad_head",
                "not a head of an audit log".to_owned(),
            ),
        }
    }
    reader.noted = noted.iter().map(|&noted| (noted, false)).collect();
    for file in files {
        reader
            .read(file)
            .map_err(|error| VerifyError::Read(file.clone(), error))?;
    }
    reader.end(files.last().map_or(Path::new(""), PathBuf::as_path));
    Ok(reader.report)
}

/// Verifies lines against the chain.
#[derive(Default)]
pub(super) struct Reader {
    report: Report,
    /// Whether the first line must exist.
    is_whole: bool,
    /// The file and position of the head, and whether its line was found.
    head: Option<(PathBuf, Position, bool)>,
    noted: Vec<(Position, bool)>,
    /// The previous hash in the first line.
    before_first: Option<Hash>,
    /// An invalid line, until the next one explains it as incomplete.
    unread: Option<(PathBuf, u64, Torn)>,
}

impl Reader {
    /// Makes a reader that continues after a line.
    pub(super) fn after(last: Position) -> Self {
        let mut reader = Self::default();
        reader.report.last = Some(last);
        reader
    }

    /// Returns whether there is no error so far. An incomplete last line is no error.
    pub(super) fn is_fine(&self) -> bool {
        self.report.breaks.is_empty()
    }

    fn found(&mut self, file: &Path, line: Option<u64>, code: &'static str, message: String) {
        push(&mut self.report.breaks, file, line, code, message);
    }

    fn note(&mut self, file: &Path, line: Option<u64>, code: &'static str, message: String) {
        push(&mut self.report.notes, file, line, code, message);
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        self.read_lines(BufReader::new(File::open(path)?), path)
    }

    pub(super) fn read_lines(&mut self, mut file: impl BufRead, path: &Path) -> io::Result<()> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if (&mut file).take(LINE as u64).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = line.strip_suffix(b"\n");
            match Link::read(text.unwrap_or(&line)) {
                Some(link) => self.link(path, number, &link),
                None if text.is_none() && line.len() < LINE => {
                    self.settle();
                    self.torn(path, number, line.len());
                }
                None => {
                    self.settle();
                    let bytes = text.unwrap_or(&line);
                    let torn = Torn {
                        bytes: bytes.len(),
                        hash: Hash::of(bytes),
                    };
                    self.unread = Some((path.into(), number, torn));
                }
            }
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, number: u64, link: &Link) {
        let at = Some(number);
        match self.unread.take() {
            Some((file, line, torn)) if link.torn == Some(torn) => {
                self.torn(&file, line, torn.bytes);
            }
            other => {
                self.unread = other;
                self.settle();
            }
        }
        if !link.is_whole {
            self.found(path, at, "altered", "was altered".to_owned());
        }
        let seq = link.seq;
        match self.report.last {
            None => {
                self.report.first = Some(link.position());
                self.before_first = Some(link.prev);
                if seq != 1 && self.is_whole {
                    let message = format!("begins at {seq}; the lines before are missing");
                    self.found(path, at, "no_beginning", message);
                } else if seq != 1 {
                    let message = format!("begins at {seq}; the lines before are in other files");
                    self.note(path, at, "begins_later", message);
                } else if link.prev != Position::START.hash {
                    let message = "is a first line, but follows another line".to_owned();
                    self.found(path, at, "not_chained", message);
                }
            }
            Some(last) if seq > last.seq.saturating_add(1) => {
                let missing = seq - last.seq - 1;
                let message = format!("{seq} follows {}: {missing} lines are missing", last.seq);
                self.found(path, at, "missing", message);
            }
            Some(last) if seq <= last.seq => {
                let message = format!("{seq} follows {}: wrong order", last.seq);
                self.found(path, at, "disorder", message);
            }
            Some(last) if link.prev != last.hash => {
                let message = "does not contain the hash of the previous line".to_owned();
                self.found(path, at, "not_chained", message);
            }
            Some(_) => {}
        }
        match &*link.event {
            "audit_broken" => {
                let reason = link.reason.as_deref().unwrap_or_default();
                let message = format!("realmgate found the log altered here: {reason}");
                self.found(path, at, "was_broken", message);
            }
            "audit_lost" => {
                let message =
                    "some denials were not written because there were too many".to_owned();
                self.note(path, at, "lost", message);
            }
            "audit_recovered" if link.after_head > 0 => {
                let message = format!(
                    "{} previous lines are after the head, as after a crash",
                    link.after_head
                );
                self.note(path, at, "after_head", message);
            }
            "audit_continued" if link.reason.as_deref() == Some("emptied") => {
                let message = "the file was truncated in place; the lines before are lost unless they were copied".to_owned();
                self.note(path, at, "emptied", message);
            }
            _ => {}
        }
        for (place, is_there) in self
            .head
            .iter_mut()
            .map(|(_, head, is_there)| (head, is_there))
            .chain(self.noted.iter_mut().map(|(noted, there)| (noted, there)))
        {
            *is_there |= *place == link.position() && link.is_whole;
        }
        self.report.last = Some(link.position());
        self.report.lines += 1;
    }

    /// Reports an invalid line that the next line did not explain.
    fn settle(&mut self) {
        if let Some((file, line, _)) = self.unread.take() {
            let message = "not a line of an audit log".to_owned();
            self.found(&file, Some(line), "not_a_line", message);
        }
    }

    fn torn(&mut self, path: &Path, number: u64, bytes: usize) {
        let message = format!("{bytes} bytes of an incomplete line, as after a crash");
        self.note(path, Some(number), "torn", message);
    }

    fn end(&mut self, path: &Path) {
        self.settle();
        let last = self.report.last.unwrap_or(Position::START);
        for (noted, is_there) in std::mem::take(&mut self.noted) {
            if !is_there {
                let message = format!("line {noted} is missing");
                self.found(path, None, "not_there", message);
            }
        }
        let Some((head_file, head, is_there)) = self.head.take() else {
            return;
        };
        let first = self.report.first.map_or(1, |first| first.seq);
        let is_before = head.seq.checked_add(1) == Some(first)
            && self.before_first.is_none_or(|before| before == head.hash);
        if last.seq < head.seq {
            let missing = head.seq - last.seq;
            let message = format!(
                "ends at {}, the head says {}: {missing} lines are missing at the end",
                last.seq, head.seq
            );
            self.found(path, None, "cut", message);
        } else if !is_there && !is_before {
            let message = format!("names line {head}, which is missing");
            self.found(&head_file, None, "other_head", message);
        } else if last.seq > head.seq {
            let more = last.seq - head.seq;
            let message = format!("{more} lines after the head, as after a crash");
            self.note(path, None, "after_head", message);
        }
    }
}

fn push(
    to: &mut Vec<Finding>,
    file: &Path,
    line: Option<u64>,
    code: &'static str,
    message: String,
) {
    if to.len() < FINDINGS {
        to.push(Finding {
            file: file.into(),
            line,
            code,
            message,
        });
    }
}
