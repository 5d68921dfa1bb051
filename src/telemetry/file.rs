//! A file that lines are appended to, and that log rotation may move.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files;

/// Appends to a file that can be replaced.
#[derive(Clone, Debug)]
pub(super) struct Appended(Arc<Mutex<File>>);

impl Appended {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    /// Replaces the file.
    pub(super) fn replace(&self, file: File) {
        *self.0.lock() = file;
    }
}

/// Only the thread that writes takes the lock, and a reload that replaces the file.
impl Write for Appended {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}

/// Opens a file to append lines. Creates it with mode 0640 if it is missing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    files::open(options.append(true).create(true).mode(0o640), path)
}
