//! The files of a log on the disk: how they are opened and created, and who may write them.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::files;

/// Returns the path of the head of a log.
pub(super) fn head_path(path: &Path) -> PathBuf {
    let mut head = path.as_os_str().to_owned();
    head.push(".head");
    head.into()
}

/// The use of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Lines are appended.
    Lines,
    /// It is overwritten.
    Head,
}

/// Opens a file; creates it if it is missing. A file that root creates gets the owner of `like`, or of its folder,
/// so that commands of root do not lock the service out.
pub(super) fn open(path: &Path, of: Use, like: Option<&Metadata>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .append(of == Use::Lines)
        .mode(0o600);
    match files::open(&mut options, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let file = match files::open(options.create_new(true), path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return files::open(options.create_new(false), path);
        }
        made => made?,
    };
    let folder = folder_of(path);
    if file.metadata()?.uid() == 0 {
        let owner = match like {
            Some(like) => like.clone(),
            None => folder.metadata()?,
        };
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Returns the folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Returns why this user could not write a log, as far as that shows without opening or creating a file.
pub(super) fn obstacle(path: &Path) -> Option<String> {
    [path, &head_path(path)].into_iter().find_map(|path| {
        let (what, wanted) = match path.symlink_metadata() {
            Ok(there) if there.is_file() => (path, Access::READ_OK | Access::WRITE_OK),
            Ok(_) => return Some(format!("{}: not a regular file", path.display())),
            // It will be created.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (folder_of(path), Access::WRITE_OK | Access::EXEC_OK)
            }
            Err(error) => return Some(format!("{}: {error}", path.display())),
        };
        let error = accessat(CWD, what, wanted, AtFlags::EACCESS).err()?;
        Some(format!("{}: {}", what.display(), io::Error::from(error)))
    })
}

/// Returns whether an error means that the disk or a quota is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Returns whether an open file is the one at a path.
pub(super) fn is_at(open: &Metadata, path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
