//! Encryption keys as text, and the key file: one key per line, mode 0600, created at the first
//! start.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use thiserror::Error;
use zeroize::Zeroizing;

use super::access::{Need, explained, exposed};
use super::atomic_file::AtomicFile;
use super::seal::{KeyId, SealError, SealingKey};

const PREFIX: &str = "realmgate-sealing-key-1:";

/// More than the length of [`Keys::MOST`] lines.
const MOST_BYTES: usize = 4096;

/// One to sixteen distinct keys, the preferred one first. `Debug` and `Display` show their ids.
#[derive(Clone)]
pub struct Keys(Vec<Arc<SealingKey>>);

impl Keys {
    /// The maximum number of keys.
    pub const MOST: usize = 16;
    /// A description of the format that [`Keys::parse`] accepts.
    pub const FORM: &str =
        "`realmgate-sealing-key-1:` and 64 hexadecimal digits in each of 1 to 16 lines";

    /// Generates a key.
    ///
    /// # Errors
    /// [`KeyFileError::Random`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyFileError> {
        let key = SealingKey::generate().map_err(KeyFileError::from)?;
        Ok(Self(vec![Arc::new(key)]))
    }

    /// Parses keys separated by white space; `None` if the text has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let keys: Vec<_> = text.split_whitespace().map(key).collect::<Option<_>>()?;
        let is_once = |(at, key): (usize, &Arc<SealingKey>)| {
            !keys.iter().take(at).any(|other| other.id() == key.id())
        };
        let fit = (1..=Self::MOST).contains(&keys.len()) && keys.iter().enumerate().all(is_once);
        fit.then_some(Self(keys))
    }

    /// Formats the keys, one per line.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES));
        for key in &self.0 {
            text.push_str(PREFIX);
            text.push_str(&Zeroizing::new(HEXLOWER.encode(key.as_bytes())));
            text.push('\n');
        }
        text
    }

    /// Returns the ids of the keys, in order.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|key| key.id())
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&Arc<SealingKey>> {
        self.0.iter().find(|key| key.id() == id)
    }

    /// Returns `first` followed by these keys; `None` if these are more than [`Keys::MOST`].
    pub(super) fn after(&self, first: &Self) -> Option<Self> {
        let keys: Vec<_> = first.0.iter().chain(&self.0).cloned().collect();
        (keys.len() <= Self::MOST).then_some(Self(keys))
    }

    /// Returns the keys without those with the given ids; `None` if no key is left.
    pub(super) fn without(&self, ids: &[KeyId]) -> Option<Self> {
        let keys = self.0.iter().filter(|key| !ids.contains(&key.id()));
        let keys: Vec<_> = keys.cloned().collect();
        (!keys.is_empty()).then_some(Self(keys))
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.ids().map(|id| id.to_string()).collect();
        let word = if ids.len() == 1 { "key" } else { "keys" };
        write!(f, "{word} {}", ids.join(", "))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads the keys of a file; `None` if the file does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Keys>, KeyFileError> {
    let fail = |error| KeyFileError::Read(path.into(), explained(path, Need::Read, error));
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(fail)?,
    };
    // Allocated at its full size: a vector that grows leaves copies of keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MOST_BYTES));
    file.take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    warn_if_others_can_read(path);
    let text = std::str::from_utf8(&bytes).ok();
    text.filter(|text| text.len() <= MOST_BYTES)
        .and_then(Keys::parse)
        .map(Some)
        .ok_or_else(|| KeyFileError::NotAKey(path.into()))
}

/// Generates a key and writes it to a new file. If another process has created the file, reads
/// that.
pub(super) fn create(path: &Path) -> Result<Keys, KeyFileError> {
    let keys = Keys::generate()?;
    let fail = |error| KeyFileError::Write(path.into(), explained(path, Need::Write, error));
    let temporary = AtomicFile::beside(path).map_err(fail)?;
    let written = temporary.file().write_all(keys.to_text().as_bytes());
    written.map_err(fail)?;
    match temporary.put() {
        Ok(()) => Ok(keys),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| KeyFileError::NotAKey(path.into()))
        }
        Err(error) => Err(fail(error)),
    }
}

/// Replaces the keys in a file. Owner and mode of the file stay the same.
pub(super) fn replace(path: &Path, keys: &Keys) -> Result<(), KeyFileError> {
    let write = || {
        // Replace the target of a symbolic link, not the link.
        let path = path.canonicalize()?;
        let old = fs::metadata(&path)?;
        let temporary = AtomicFile::beside(&path)?;
        let mut file = temporary.file();
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())?;
        file.write_all(keys.to_text().as_bytes())?;
        temporary.replace()
    };
    write().map_err(|error| KeyFileError::Write(path.into(), explained(path, Need::Write, error)))
}

fn key(text: &str) -> Option<Arc<SealingKey>> {
    let digits = text.strip_prefix(PREFIX)?;
    let bytes = Zeroizing::new(HEXLOWER.decode(digits.as_bytes()).ok()?);
    let bytes = bytes.as_slice().try_into().ok()?;
    Some(Arc::new(SealingKey::from_bytes(bytes)))
}

fn warn_if_others_can_read(path: &Path) {
    if let Some(mode) = exposed(path) {
        tracing::warn!(
            path = %path.display(),
            mode = format_args!("{mode:04o}"),
            "others can read the key file, expected mode 0600"
        );
    }
}

/// Why keys cannot be read or written. Never contains a key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("key file {0}: cannot be read")]
    Read(PathBuf, #[source] io::Error),
    /// The file cannot be written.
    #[error("key file {0}: cannot be written")]
    Write(PathBuf, #[source] io::Error),
    /// The file has other content.
    #[error("key file {0}: is not a key file, expected {form}", form = Keys::FORM)]
    NotAKey(PathBuf),
    /// The operating system gave no random bytes.
    #[error("cannot generate a key: the operating system gave no random bytes")]
    Random,
}

impl From<SealError> for KeyFileError {
    fn from(_: SealError) -> Self {
        Self::Random
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn created_key_reads_back_and_only_its_owner_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        assert!(read(&path).unwrap().is_none());
        let keys = create(&path).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().to_text(), keys.to_text());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn second_creation_keeps_the_first_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let first = create(&path).unwrap();
        assert_eq!(create(&path).unwrap().to_text(), first.to_text());
    }

    #[test]
    fn replaced_file_keeps_its_mode_and_a_link_to_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("k"), dir.path().join("link"));
        let old = create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let both = old.after(&Keys::generate().unwrap()).unwrap();
        replace(&link, &both).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().to_text(), both.to_text());
        assert_eq!(mode(&path), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn sixteen_keys_are_read_in_their_order_and_seventeen_are_not() {
        let mut keys = Keys::generate().unwrap();
        for _ in 1..Keys::MOST {
            keys = keys.after(&Keys::generate().unwrap()).unwrap();
        }
        let read = Keys::parse(&keys.to_text()).unwrap();
        assert!(read.ids().eq(keys.ids()));
        let one = Keys::generate().unwrap();
        assert!(keys.after(&one).is_none());
        let more = format!("{}{}", *keys.to_text(), *one.to_text());
        assert!(Keys::parse(&more).is_none());
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
            format!("{PREFIX}{digits}\n{PREFIX}{digits}\n"),
            format!("{PREFIX}{digits}{}", "\n".repeat(MOST_BYTES)),
        ] {
            fs::write(&path, &text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::NotAKey(_)), "{text}");
            assert!(!error.to_string().contains("abab"));
        }
    }
}
