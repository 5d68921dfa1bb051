//! Room on the disk that is kept for changes by administrators, and given up step by step once there is no
//! other.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::disk::{Use, folder_of, is_full, open};

/// How much is kept, and how much is given up at a time: enough for a change in the database and its line.
const WHOLE: u64 = 4 << 20;
const STEP: u64 = 256 << 10;
/// Where less is free, strangers cause no lines.
const LOW: u64 = 16 << 20;
/// What a line takes at most, and its file.
const LEAST: u64 = 64 << 10;

/// A file beside the log that has nothing in it but room.
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

    /// Takes room if there is enough besides; says whether the reserve is whole and the disk is not low.
    /// A new file belongs to whom `like` belongs to.
    ///
    /// # Errors
    /// The file cannot be had.
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
                // As with a quota, which does not show in what is free.
                if is_full(&error) {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Gives up a step; says whether there was one.
    ///
    /// # Errors
    /// The file cannot be cut.
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

    /// Gives up a step if less than that is free.
    ///
    /// # Errors
    /// Nothing is left.
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

    /// Returns how many bytes of the disk this user may still take.
    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(&self.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

fn take_room(file: &File) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, WHOLE) {
        // Not every file system can do it, such as those of networks.
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
