//! The key file: one line of text, mode 0600, made at first start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use thiserror::Error;
use zeroize::Zeroizing;

use super::seal::SealingKey;

const PREFIX: &str = "realmgate-sealing-key-1:";

/// Reads the key, or none if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<SealingKey>, KeyFileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(KeyFileError::NotAKey(path.into()));
        }
        Err(error) => return Err(KeyFileError::Read(path.into(), error)),
    };
    warn_if_others_can_read(path);
    parse(&text)
        .map(Some)
        .ok_or_else(|| KeyFileError::NotAKey(path.into()))
}

/// Makes a key and its file, or reads the file if another process has made it meanwhile.
///
/// The file appears whole or not at all: it is written under another name, synced, and linked.
pub(super) fn create(path: &Path) -> Result<SealingKey, KeyFileError> {
    let key = SealingKey::generate().map_err(|_| KeyFileError::Random)?;
    let fail = |error| KeyFileError::Write(path.into(), error);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    write_draft(&draft, &key).map_err(fail)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(fail)?;
    match linked {
        Ok(()) => {
            sync_parent(path).map_err(fail)?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| KeyFileError::NotAKey(path.into()))
        }
        Err(error) => Err(fail(error)),
    }
}

fn write_draft(path: &Path, key: &SealingKey) -> io::Result<()> {
    // A draft of a process that died, whose number we got, would stand in the way.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let digits = Zeroizing::new(HEXLOWER.encode(key.as_bytes()));
    file.write_all(PREFIX.as_bytes())?;
    file.write_all(digits.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn parse(text: &str) -> Option<SealingKey> {
    let digits = text.trim_end().strip_prefix(PREFIX)?;
    let bytes = Zeroizing::new(HEXLOWER.decode(digits.as_bytes()).ok()?);
    Some(SealingKey::from_bytes(bytes.as_slice().try_into().ok()?))
}

fn warn_if_others_can_read(path: &Path) {
    if let Ok(metadata) = fs::metadata(path) {
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                path = %path.display(),
                mode = format_args!("{mode:04o}"),
                "others can read the key file, expected mode 0600"
            );
        }
    }
}

/// Why there is no key. Never holds the key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("key file {0}: cannot be read")]
    Read(PathBuf, #[source] io::Error),
    /// The file cannot be written.
    #[error("key file {0}: cannot be written")]
    Write(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error("key file {0}: is not one, expected one line `{PREFIX}` and 64 hexadecimal digits")]
    NotAKey(PathBuf),
    /// No random bytes for a new key.
    #[error("no key could be made: the operating system gave no random bytes")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_key_reads_back_and_only_its_owner_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        assert!(read(&path).unwrap().is_none());
        let key = create(&path).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_bytes(), key.as_bytes());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn second_creation_keeps_the_first_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let first = create(&path).unwrap();
        assert_eq!(create(&path).unwrap().as_bytes(), first.as_bytes());
    }

    #[test]
    fn other_content_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let digits = "ab".repeat(32);
        for text in [
            String::new(),
            digits.clone(),
            format!("{PREFIX}{}", "ab".repeat(31)),
            format!("{PREFIX}{}", "ab".repeat(33)),
            format!("{PREFIX}{}", "zz".repeat(32)),
            format!("{PREFIX}{digits}\n{digits}\n"),
        ] {
            fs::write(&path, &text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::NotAKey(_)), "{text}");
            assert!(!error.to_string().contains("abab"));
        }
    }
}
