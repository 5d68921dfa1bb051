//! Files that appear whole or not at all: written under another name, synced, then put in place.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file under another name, mode 0600. Removed when dropped, unless it has been put in place.
pub(super) struct Draft {
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Makes an empty one beside `target`.
    pub(super) fn beside(target: &Path) -> io::Result<(Self, File)> {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".{}.new", std::process::id()));
        let path = PathBuf::from(path);
        // One of a process that died, whose number we got, would stand in the way.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let target = target.to_owned();
        Ok((Self { path, target }, file))
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

/// Returns the folder that a path is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}
