//! Files that the program writes: private to their owner or group, and never written through a
//! symbolic link that somebody else may have placed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// Opens a regular file. The last component of the path must not be a symbolic link.
///
/// # Errors
/// The path is a symbolic link or not a regular file, or another I/O error.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Opening a pipe without a reader would block.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == Errno::LOOP.raw_os_error() => is_a_link(),
            _ => error,
        })?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(opened)
}

/// Replaces a file, with exactly this mode whatever the umask. Readers see the old or the new
/// content, never a part of it.
///
/// # Errors
/// The path is a symbolic link, or another I/O error.
pub(crate) fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    reject_link(path)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    let permissions = Permissions::from_mode(mode);
    file.as_file().set_permissions(permissions)?;
    file.persist(path)?;
    Ok(())
}

/// Deletes a file if it exists.
///
/// # Errors
/// The file cannot be deleted.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Fails if the path is a symbolic link.
///
/// # Errors
/// `InvalidInput` if it is.
pub(crate) fn reject_link(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => Err(is_a_link()),
        _ => Ok(()),
    }
}

/// Reserves disk space for `bytes` bytes of a file from `offset` on, without changing its length.
/// Does nothing on file systems that do not support it.
///
/// # Errors
/// The disk or a quota is full.
pub(crate) fn allocate(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, offset, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        done => Ok(done?),
    }
}

/// Returns the maximum size of a file that this process may write; `None` if there is no limit.
pub(crate) fn longest() -> Option<u64> {
    limits("Max file size").0
}

/// Returns a soft and a hard limit of this process by their name in `/proc`; `None` if there is no
/// limit or it cannot be read.
///
/// Not read by a system call, because `deploy/systemd` blocks all system calls for limits.
pub(crate) fn limits(name: &str) -> (Option<u64>, Option<u64>) {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    read_limits(&text, name)
}

fn read_limits(text: &str, name: &str) -> (Option<u64>, Option<u64>) {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let mut numbers = line.unwrap_or_default().split_whitespace();
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    (next(), next())
}

fn is_a_link() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "is a symbolic link")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn replaced_file_has_its_mode_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        for content in [b"one", b"two"] {
            replace(&path, 0o640, content).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn link_in_the_place_of_the_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("victim"), "untouched").unwrap();
        symlink(path("victim"), path("link")).unwrap();
        assert!(replace(&path("link"), 0o640, b"new").is_err());
        assert!(open(File::options().append(true), &path("link")).is_err());
        assert_eq!(fs::read(path("victim")).unwrap(), b"untouched");
    }

    #[test]
    fn folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(File::options().read(true), folder.path()).is_err());
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let read = |text| read_limits(text, "Max open files");
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max core file size        0                    0                    bytes     \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(read(text), (Some(1024), Some(524_288)));
        let unlimited =
            "Max open files            1024                 unlimited            files\n";
        assert_eq!(read(unlimited), (Some(1024), None));
        assert_eq!(read(""), (None, None));
    }
}
