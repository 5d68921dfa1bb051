//! A reserve on the disk for changes by administrators. When the disk is full, it is released step by step.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::disk::{Use, folder_of, is_full, open};

/// The size of the reserve and of a step, in bytes. A step is enough for a change in the database and its line.
const WHOLE: u64 = 4 << 20;
const STEP: u64 = 256 << 10;
/// The free space below which denials are not written, in bytes.
const LOW: u64 = 16 << 20;
/// The maximum space that a line needs, in bytes.
const LEAST: u64 = 64 << 10;

/// A file beside the log that only occupies space.
pub(super) struct Reserve {
    path: PathBuf,
    folder: PathBuf,
}

impl Reserve {
    pub(super) fn of(log: &Path) -> Self {
        let mut path = log.as_os_str().to_owned();
        path.push(".reserve");
        Self {
            path: path.into(),
            folder: folder_of(log).into(),
        }
    }

    /// Fills the reserve if there is enough free space. Returns whether the reserve is complete and the disk is not
    /// low. A new file gets the owner of `like`.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub(super) fn fill(&self, like: &Metadata) -> io::Result<bool> {
        let free = self.free()?;
        let length = self.length()?;
        if length == WHOLE {
            return Ok(free >= LOW);
        }
        if free < LOW + WHOLE {
            return Ok(false);
        }
        let file = open(&self.path, Use::Head, Some(like))?;
        match take_room(&file) {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = file.set_len(length);
                // A quota does not show in the free space.
                if is_full(&error) {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Releases a step. Returns whether there was one.
    ///
    /// # Errors
    /// The file cannot be truncated.
    pub(super) fn give_up(&self) -> io::Result<bool> {
        let length = self.length()?;
        if length == 0 {
            return Ok(false);
        }
        let file = open(&self.path, Use::Head, None)?;
        file.set_len(length.saturating_sub(STEP))?;
        file.sync_all()?;
        Ok(true)
    }

    /// Releases a step if less than a step is free.
    ///
    /// # Errors
    /// The disk is full and the reserve is empty.
    pub(super) fn make_room(&self) -> io::Result<()> {
        if self.free()? < STEP && !self.give_up()? && self.free()? < LEAST {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        match self.path.symlink_metadata() {
            Ok(there) => Ok(there.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Returns the free space for this user in bytes.
    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(&self.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

fn take_room(file: &File) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, WHOLE) {
        // Some file systems, such as network file systems, do not support it.
        Err(Errno::OPNOTSUPP) => {
            let zeros = vec![0; usize::try_from(STEP).unwrap_or(0)];
            let mut file = file;
            for _ in 0..WHOLE / STEP {
                file.write_all(&zeros)?;
            }
        }
        taken => taken?,
    }
    file.sync_all()
}
