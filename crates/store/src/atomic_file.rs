//! Files that appear whole or not at all: written under another name, synced, then put in place.
//!
//! A process that is killed leaves its draft, which may be large or hold keys. Whoever makes a draft holds a lock on
//! it, so the next one tells what is left from what is being written, and removes it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// How the name of a draft ends.
const END: &str = ".realmgate-new";

/// The most entries of a folder that are looked at.
const ENTRIES: usize = 100_000;

/// A file under another name, mode 0600. Removed when dropped, unless it has been put in place.
pub(super) struct Draft {
    path: PathBuf,
    target: PathBuf,
    /// Locked.
    _file: File,
}

impl Draft {
    /// Makes an empty one beside `target`, and removes what others have left there.
    pub(super) fn beside(target: &Path) -> io::Result<(Self, File)> {
        sweep(folder_of(target));
        // Another process may have the same number, in a container, or may sweep ours before it is locked.
        for attempt in 0..100 {
            let mut path = target.as_os_str().to_owned();
            path.push(format!(".{}-{attempt}{END}", std::process::id()));
            let path = PathBuf::from(path);
            let made = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            let file = match made {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            if file.try_lock().is_err() || !is_at(&file, &path) {
                continue;
            }
            let draft = Self {
                path,
                target: target.to_owned(),
                _file: file.try_clone()?,
            };
            return Ok((draft, file));
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in place if nothing is there.
    ///
    /// # Errors
    /// `AlreadyExists`, and what else may happen to files.
    pub(super) fn put(self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        fs::hard_link(&self.path, &self.target)?;
        sync_folder_of(&self.target)
    }

    /// Puts it in the place of what is there.
    pub(super) fn replace(self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        sync_folder_of(&self.target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the drafts in a folder that this user's processes have left. What fails stays for the next time.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let is_draft = |name: &OsString| name.to_str().is_some_and(|name| name.ends_with(END));
    let names = entries
        .take(ENTRIES)
        .filter_map(|entry| Some(entry.ok()?.file_name()));
    for name in names.filter(is_draft) {
        let path = folder.join(name);
        if let Ok(Some(bytes)) = remove_if_left(&path) {
            tracing::warn!(path = %path.display(), bytes, "removed an unfinished file of a terminated process");
        }
    }
}

/// Removes a draft that nobody holds; returns its size, if it has.
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

/// Says whether a file is still the one at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let inode = |it: fs::Metadata| (it.dev(), it.ino());
    let (open, there) = (file.metadata().map(inode), fs::symlink_metadata(path));
    matches!((open, there.map(inode)), (Ok(open), Ok(there)) if open == there)
}

/// Returns the folder that a path is in.
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
    fn draft_that_a_process_has_left_is_removed_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("t");
        let (draft, _) = Draft::beside(&target).unwrap();
        let left = folder.path().join(format!("other.db.1-0{END}"));
        fs::write(&left, "keys").unwrap();
        let elses = folder.path().join("other.db.1.new");
        fs::write(&elses, "notes").unwrap();
        let (second, _) = Draft::beside(&target).unwrap();
        assert!(!left.exists());
        assert!(elses.exists());
        assert!(draft.path().exists() && second.path().exists());
        assert_ne!(draft.path(), second.path());
        draft.put().unwrap();
        drop(second);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn link_under_the_name_of_a_draft_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        fs::write(&kept, "mine").unwrap();
        let link = folder.path().join(format!("x.1-0{END}"));
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        sweep(folder.path());
        assert!(link.exists() && kept.exists());
    }
}
