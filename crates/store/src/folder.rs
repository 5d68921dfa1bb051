//! A lock on the directory of a database: one process at a time creates files there or changes
//! keys.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{major, minor};

use crate::atomic_file::folder_of;

/// The maximum wait for the lock. Its holders need milliseconds.
const LONGEST: Duration = Duration::from_secs(10);
/// The wait after which a warning is logged.
const SILENT: Duration = Duration::from_secs(1);
/// The interval between attempts.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until no other process prepares a database in the same directory. Dropping the file
/// releases the lock.
///
/// # Errors
/// `TimedOut` with the process that holds the lock, if it can be found, or another I/O error.
pub(super) fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = File::open(folder_of(path))?;
    let (began, mut is_told) = (Instant::now(), false);
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        let waited = began.elapsed();
        if waited >= LONGEST {
            let (holder, seconds) = (holder(&folder), LONGEST.as_secs());
            let text = format!("{holder} holds the lock of its directory (waited for {seconds} s)");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        if waited >= SILENT && !is_told {
            is_told = true;
            let (holder, folder) = (holder(&folder), folder_of(path).display());
            tracing::warn!(%folder, holder, "waiting for the lock of the database's directory");
        }
        thread::sleep(LOOK);
    }
}

/// Returns the process that holds the lock of a directory.
fn holder(folder: &File) -> String {
    let pid = folder.metadata().ok().and_then(|folder| {
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let (device, inode) = (folder.dev(), folder.ino());
        find(
            &locks,
            &format!("{:02x}:{:02x}:{inode}", major(device), minor(device)),
        )
    });
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// Finds the process that holds the lock of a file in the format of `proc_locks(5)`, such as `1:
/// FLOCK ADVISORY WRITE 4711 fe:01:1234 0 EOF`. A process in another PID namespace has the number
/// 0.
fn find(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_flock = fields.next() == Some("FLOCK");
        let pid = fields.nth(2)?.parse().ok()?;
        (is_flock && pid != 0 && fields.next() == Some(file)).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_is_found_among_other_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 fe:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 fe:01:78 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 fe:01:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 fe:01:77 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 14 fe:01:77 0 EOF\n";
        assert_eq!(find(locks, "fe:01:77"), Some(14));
        assert_eq!(find(locks, "fe:01:79"), None);
        assert_eq!(find("", "fe:01:77"), None);
    }
}
