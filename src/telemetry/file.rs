//! A file that lines are added to, and that somebody may move away.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files;

/// Where lines go: to the file that was put in last.
#[derive(Clone, Debug)]
pub(super) struct Appended(Arc<Mutex<File>>);

impl Appended {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    /// Writes to another file from now on.
    pub(super) fn replace(&self, file: File) {
        *self.0.lock() = file;
    }
}

/// Only the thread that writes holds the lock, or whoever replaces the file.
impl Write for Appended {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}

/// Opens a file to add lines to; made, for its owner and group, if missing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    files::open(options.append(true).create(true).mode(0o640), path)
}
