//! Files that appear completely or not at all: written under a temporary name, synced, then
//! renamed.
//!
//! A killed process leaves its temporary file, which may be large or contain keys. Each writer
//! locks its file, so that the next writer can remove the unlocked ones.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::{Builder, NamedTempFile};

/// The suffix of temporary files.
const END: &str = ".realmgate-new";

/// The maximum number of directory entries that are examined.
const ENTRIES: usize = 100_000;

/// How often a temporary file is created again after another process has deleted it.
const ATTEMPTS: usize = 100;

/// A locked temporary file with mode 0600. Deleted on drop unless it was moved into place.
pub(super) struct AtomicFile {
    temporary: NamedTempFile,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates an empty temporary file beside `target`, and deletes abandoned ones.
    pub(super) fn beside(target: &Path) -> io::Result<Self> {
        let folder = folder_of(target);
        sweep(folder);
        let mut prefix = target.file_name().unwrap_or_default().to_owned();
        prefix.push(".");
        for _ in 0..ATTEMPTS {
            let mut named = Builder::new();
            let temporary = named.prefix(&prefix).suffix(END).tempfile_in(folder)?;
            let file = temporary.as_file();
            // Another process may delete it before it is locked.
            if file.try_lock().is_ok() && is_at(file, temporary.path()) {
                let target = target.to_owned();
                return Ok(Self { temporary, target });
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    pub(super) fn file(&self) -> &File {
        self.temporary.as_file()
    }

    pub(super) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Moves the file into place unless a file exists there.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one, or another I/O error.
    pub(super) fn put(self) -> io::Result<()> {
        self.sync()?;
        self.temporary.persist_noclobber(&self.target)?;
        sync_folder_of(&self.target)
    }

    /// Moves the file into place and replaces an existing one.
    pub(super) fn replace(self) -> io::Result<()> {
        self.sync()?;
        self.temporary.persist(&self.target)?;
        sync_folder_of(&self.target)
    }

    /// Opens the file by its name, because SQLite may have written it through another descriptor.
    fn sync(&self) -> io::Result<()> {
        File::open(self.path())?.sync_all()
    }
}

/// Deletes the temporary files in a directory that processes of this user have abandoned. Ignores
/// failures; the next call tries again.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let is_temporary = |name: &OsString| name.to_str().is_some_and(|name| name.ends_with(END));
    let names = entries
        .take(ENTRIES)
        .filter_map(|entry| Some(entry.ok()?.file_name()));
    for name in names.filter(is_temporary) {
        let path = folder.join(name);
        if let Ok(Some(bytes)) = remove_if_left(&path) {
            tracing::warn!(path = %path.display(), bytes, "removed an unfinished file of a terminated process");
        }
    }
}

/// Deletes an unlocked temporary file. Returns its size, or `None` if it was kept.
fn remove_if_left(path: &Path) -> io::Result<Option<u64>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    let is_ours = metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
    if !is_ours || file.try_lock().is_err() || !is_at(&file, path) {
        return Ok(None);
    }
    fs::remove_file(path)?;
    Ok(Some(metadata.len()))
}

/// Returns whether an open file is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let inode = |it: fs::Metadata| (it.dev(), it.ino());
    let (open, there) = (file.metadata().map(inode), fs::symlink_metadata(path));
    matches!((open, there.map(inode)), (Ok(open), Ok(there)) if open == there)
}

/// Returns the directory of a path, `.` for a bare file name.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_file_is_removed_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("t");
        let first = AtomicFile::beside(&target).unwrap();
        let left = folder.path().join(format!("other.db.1-0{END}"));
        fs::write(&left, "keys").unwrap();
        let elses = folder.path().join("other.db.1.new");
        fs::write(&elses, "notes").unwrap();
        let second = AtomicFile::beside(&target).unwrap();
        assert!(!left.exists());
        assert!(elses.exists());
        assert!(first.path().exists() && second.path().exists());
        assert_ne!(first.path(), second.path());
        first.put().unwrap();
        drop(second);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn link_with_the_name_of_a_temporary_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        fs::write(&kept, "mine").unwrap();
        let link = folder.path().join(format!("x.1-0{END}"));
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        sweep(folder.path());
        assert!(link.exists() && kept.exists());
    }
}
