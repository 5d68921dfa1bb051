//! Notices when the files of an open database are deleted, replaced or emptied.
//!
//! SQLite keeps using deleted or replaced files: it would read and write data that nobody else sees
//! and that is lost when the process ends. It also keeps using a database that was emptied in
//! place.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::access::companions;
use realmgate_core::StoreError;

/// The files of a database, identified by device and inode. A lost file stays lost.
pub(super) struct Watch {
    database: File,
    /// The write-ahead log and its index, once they are known to be open.
    companions: OnceLock<[File; 2]>,
    lost: OnceLock<StoreError>,
}

struct File {
    path: PathBuf,
    inode: (u64, u64),
    /// Whether an empty file means that it was emptied: true for the database, false for its log.
    keeps_content: bool,
    has_content: AtomicBool,
}

impl Watch {
    /// Begins to watch the database at `path`. Call it before the database is opened.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            database: File::at(path.to_owned(), true)?,
            companions: OnceLock::new(),
            lost: OnceLock::new(),
        })
    }

    /// Begins to watch the write-ahead log and its index. Call it while a connection has them open,
    /// which keeps SQLite from deleting them.
    pub(super) fn begin_with_companions(&self) -> io::Result<()> {
        let [log, index] = companions(&self.database.path);
        if !log.exists() && !index.exists() {
            // The database is open in immutable mode.
            return Ok(());
        }
        let _ = self
            .companions
            .set([File::at(log, false)?, File::at(index, false)?]);
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.database.path
    }

    /// Returns the size of the write-ahead log in bytes, 0 if there is none.
    pub(super) fn log_bytes(&self) -> u64 {
        let log = self.companions.get().and_then(|all| all.first());
        let log = log.and_then(|log| fs::metadata(&log.path).ok());
        log.map_or(0, |log| log.len())
    }

    /// Fails if a file is known to be lost. Does not check the files.
    pub(super) fn verdict(&self) -> Result<(), StoreError> {
        self.lost.get().map_or(Ok(()), |lost| Err(lost.clone()))
    }

    /// Checks the files. Fails if one is lost or cannot be examined.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        self.verdict()?;
        let companions = self.companions.get().into_iter().flatten();
        for file in std::iter::once(&self.database).chain(companions) {
            let how = match file.state() {
                Ok(State::Same) => continue,
                Ok(State::Deleted) => "was deleted",
                Ok(State::Emptied) => "was emptied",
                Ok(State::Replaced) => "was replaced",
                Err(error) => {
                    let error = format!("{}: {error}", file.path.display());
                    return Err(StoreError::Database(error.into()));
                }
            };
            let lost = format!("{} {how}", file.path.display());
            let lost = StoreError::Lost(lost.into());
            return Err(self.lost.get_or_init(|| lost).clone());
        }
        Ok(())
    }
}

enum State {
    Same,
    Deleted,
    Emptied,
    Replaced,
}

impl File {
    fn at(path: PathBuf, keeps_content: bool) -> io::Result<Self> {
        let metadata = fs::metadata(&path)?;
        Ok(Self {
            inode: (metadata.dev(), metadata.ino()),
            has_content: AtomicBool::new(metadata.len() > 0),
            keeps_content,
            path,
        })
    }

    fn state(&self) -> io::Result<State> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Deleted),
            Err(error) => return Err(error),
        };
        if (metadata.dev(), metadata.ino()) != self.inode {
            return Ok(State::Replaced);
        }
        if metadata.len() > 0 {
            self.has_content.store(true, Ordering::Relaxed);
        } else if self.keeps_content && self.has_content.load(Ordering::Relaxed) {
            return Ok(State::Emptied);
        }
        Ok(State::Same)
    }
}
