//! How the files of a database may be opened, and what stands in the way.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::draft::folder_of;

/// What is to be done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To read them.
    Read,
    /// To read and write them.
    Write,
}

/// How SQLite opens a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As everybody does who may write: with the write-ahead log and its index, which are made and removed.
    Shared,
    /// Without writing. The log and its index have to be there.
    ReadOnly,
    /// As a file that nobody changes.
    Immutable,
}

impl Way {
    /// Returns the best way to read a database.
    pub(super) fn to_read(path: &Path) -> Self {
        let may_write = |path| may(path, Access::READ_OK | Access::WRITE_OK).is_ok();
        if may_write(path) && may_write(folder_of(path)) {
            return Self::Shared;
        }
        let [log, index] = companions(path);
        let is_empty = !has_content(&log);
        // Whoever has the database open has an index. Without one and with an empty log, all is in the file.
        match is_empty && !index.exists() {
            true => Self::Immutable,
            false => Self::ReadOnly,
        }
    }

    /// Returns the best way to copy a database that somebody may have been killed with: its log is not tidied up.
    pub(super) fn to_copy(path: &Path) -> Self {
        let [log, _] = companions(path);
        match Self::to_read(path) {
            Self::Shared if has_content(&log) => Self::ReadOnly,
            // The last connection that only reads would leave a log and an index behind.
            way => way,
        }
    }

    /// Returns the URI that SQLite opens. It makes no database.
    pub(super) fn uri(self, path: &Path) -> PathBuf {
        // What is not a letter or a digit may mean something in a URI; `%2F` is a slash to SQLite.
        let path = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
        let options = match self {
            Self::Shared => "mode=rw",
            Self::ReadOnly => "mode=ro",
            Self::Immutable => "mode=ro&immutable=1",
        };
        format!("file:{path}?{options}").into()
    }
}

/// Returns the paths of the write-ahead log and of its index: beside the file that a symbolic link leads to.
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

/// Says what keeps this process from a database, its companions and its folder; none if nothing is found.
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
            "{} holds changes, which are read with {}, and that cannot be made there: copy database and log to another folder",
            log.display(),
            index.display()
        ));
    }
    (!all.is_empty()).then(|| format!("{}; this process runs as {}", all.join("; "), this_user()))
}

/// Adds to an error of a file whose it is, and who runs.
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

/// Says what is wrong with the folder of a path, or with one above it.
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
            Some(format!("folder {} does not exist", folder.display()))
        }
        _ if need == Need::Write => of_file(folder, Access::READ_OK | Access::WRITE_OK),
        _ => None,
    }
}

/// Says why a file, if there is one, is not to be had.
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

/// Asks the operating system as it would be asked by opening.
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
