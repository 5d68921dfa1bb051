//! Selects how SQLite opens the files of a database, and explains missing permissions.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::atomic_file::folder_of;

/// The access that a process needs to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Read access.
    Read,
    /// Read and write access.
    Write,
}

/// The mode in which SQLite opens a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Read and write. Creates and removes the write-ahead log and its index.
    Shared,
    /// Read only. The write-ahead log and its index must exist.
    ReadOnly,
    /// Read only, as a file that nobody changes. Needs no log and no index.
    Immutable,
}

impl Way {
    /// Returns the mode for reading a database.
    pub(super) fn to_read(path: &Path) -> Self {
        let may_write = |path| may(path, Access::READ_OK | Access::WRITE_OK).is_ok();
        if may_write(path) && may_write(folder_of(path)) {
            return Self::Shared;
        }
        let [log, index] = companions(path);
        let is_empty = !has_content(&log);
        // Every process that has the database open has an index. Without an index and with an empty
        // log, all content is in the file.
        match is_empty && !index.exists() {
            true => Self::Immutable,
            false => Self::ReadOnly,
        }
    }

    /// Returns the mode for copying a database. Keeps a write-ahead log that a killed process left.
    pub(super) fn to_copy(path: &Path) -> Self {
        let [log, _] = companions(path);
        match Self::to_read(path) {
            Self::Shared if has_content(&log) => Self::ReadOnly,
            // The last connection of a read-only process would leave a log and an index behind.
            way => way,
        }
    }

    /// Returns a URI for SQLite that does not create the database.
    pub(super) fn uri(self, path: &Path) -> PathBuf {
        // Escape everything but letters and digits, as it may have a meaning in a URI. SQLite
        // decodes `%2F` to a slash.
        let path = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
        let options = match self {
            Self::Shared => "mode=rw",
            Self::ReadOnly => "mode=ro",
            Self::Immutable => "mode=ro&immutable=1",
        };
        format!("file:{path}?{options}").into()
    }
}

/// Returns the paths of the write-ahead log and of its index, beside the target of a symbolic link.
pub(super) fn companions(path: &Path) -> [PathBuf; 2] {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    ["-wal", "-shm"].map(|suffix| {
        let mut path = real.clone().into_os_string();
        path.push(suffix);
        path.into()
    })
}

fn has_content(log: &Path) -> bool {
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Describes the permissions that this process lacks for a database, its companions and its
/// directory; `None` if it lacks none.
pub(super) fn obstacle(path: &Path, need: Need) -> Option<String> {
    let wanted = match need {
        Need::Read => Access::READ_OK,
        Need::Write => Access::READ_OK | Access::WRITE_OK,
    };
    let [log, index] = companions(path);
    let has_unread = has_content(&log);
    let mut all: Vec<_> = folder(path, need).into_iter().collect();
    if all.is_empty() {
        let files = [path, &log, &index];
        all.extend(files.iter().filter_map(|path| of_file(path, wanted)));
    }
    if need == Need::Read && all.is_empty() && has_unread && !index.exists() {
        all.push(format!(
            "{} contains changes that can only be read with {}, which cannot be created there: copy the database and the log to another directory",
            log.display(),
            index.display()
        ));
    }
    (!all.is_empty()).then(|| format!("{}; this process runs as {}", all.join("; "), this_user()))
}

/// Adds the owner of the file and the user of this process to an I/O error.
pub(super) fn explained(path: &Path, need: Need, error: io::Error) -> io::Error {
    let wanted = match need {
        Need::Read => Access::READ_OK,
        Need::Write => Access::READ_OK | Access::WRITE_OK,
    };
    let kind = error.kind();
    let why = folder(path, need).or_else(|| of_file(path, wanted));
    match why {
        Some(why) => {
            let text = format!("{error}: {why}; this process runs as {}", this_user());
            io::Error::new(kind, text)
        }
        None => error,
    }
}

/// Describes a missing permission for the directory of a path, or for a directory above it.
fn folder(path: &Path, need: Need) -> Option<String> {
    let folder = folder_of(path);
    let above = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut above: Vec<_> = above.ancestors().collect();
    above.reverse();
    let through = above
        .into_iter()
        .find_map(|it| of_file(it, Access::EXEC_OK));
    if through.is_some() {
        return through;
    }
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("directory {} does not exist", folder.display()))
        }
        _ if need == Need::Write => of_file(folder, Access::READ_OK | Access::WRITE_OK),
        _ => None,
    }
}

/// Describes the missing permission for a file, if it exists.
fn of_file(path: &Path, wanted: Access) -> Option<String> {
    match may(path, wanted) {
        Ok(()) | Err(Errno::NOENT) => None,
        Err(Errno::ROFS) => Some(format!("{} is on a read-only file system", path.display())),
        Err(error) => Some(match fs::metadata(path) {
            Ok(it) => format!(
                "{} belongs to {}, mode {:04o}",
                path.display(),
                user(it.uid()),
                it.mode() & 0o7777
            ),
            Err(_) => format!("{}: {error}", path.display()),
        }),
    }
}

/// Returns the mode of a file with a secret if users can read or change it who should not.
///
/// A file of root may be readable by its group, as the files of a Kubernetes Secret are. PostgreSQL
/// has the same rule for the keys of certificates. A process that runs as root needs no group.
pub(super) fn exposed(path: &Path) -> Option<u32> {
    let file = fs::metadata(path).ok()?;
    let mode = file.mode() & 0o777;
    let is_read_by_group = file.uid() == 0 && !rustix::process::geteuid().is_root();
    let others = if is_read_by_group { 0o037 } else { 0o077 };
    (mode & others != 0).then_some(mode)
}

/// Checks access as `open` would, with the effective user.
fn may(path: &Path, wanted: Access) -> Result<(), Errno> {
    accessat(CWD, path, wanted, AtFlags::EACCESS)
}

fn this_user() -> String {
    user(rustix::process::geteuid().as_raw())
}

fn user(id: u32) -> String {
    match User::from_uid(Uid::from_raw(id)) {
        Ok(Some(user)) => format!("{} (uid {id})", user.name),
        _ => format!("uid {id}"),
    }
}
