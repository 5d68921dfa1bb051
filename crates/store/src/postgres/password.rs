//! The password of the database.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::access::exposed;

/// The maximum length of a password file.
const MOST_BYTES: u64 = 4096;

/// The source of the database password. `Debug` does not print it.
#[derive(Clone, Default)]
pub enum Password {
    /// No password.
    #[default]
    None,
    /// A file, read for each connection so that it can be changed at any time.
    File(PathBuf),
    /// An environment variable.
    Environment(Zeroizing<Vec<u8>>),
}

impl Password {
    /// Returns the password, if there is one.
    pub(super) fn read(&self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        match self {
            Self::None => Ok(None),
            Self::Environment(password) => Ok(Some(password.clone())),
            Self::File(path) => {
                let explained = |error: io::Error| {
                    io::Error::new(
                        error.kind(),
                        format!("password file {}: {error}", path.display()),
                    )
                };
                read(path).map(Some).map_err(explained)
            }
        }
    }

    /// Returns the path and the mode of the file if other users can read it.
    pub fn exposed(&self) -> Option<(&Path, u32)> {
        let Self::File(path) = self else { return None };
        Some((path, exposed(path)?))
    }

    /// Logs a warning if other users can read the file.
    pub(super) fn warn_if_exposed(&self) {
        if let Some((path, mode)) = self.exposed() {
            tracing::warn!(
                path = %path.display(),
                mode = format_args!("{mode:04o}"),
                "others can read the password file, expected mode 0600"
            );
        }
    }
}

/// Reads a file without its trailing newline.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Allocated at full size: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * 4096));
    File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    while bytes.last().is_some_and(|end| matches!(end, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() || bytes.len() as u64 > MOST_BYTES || bytes.contains(&b'\n') {
        let text = "expected one line with the password";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Environment(_) => f.write_str("Environment(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn password_is_the_line_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (text, password) in [
            ("secret\n", Some("secret")),
            ("se cret\r\n", Some("se cret")),
            ("", None),
            ("\n", None),
            ("a\nb\n", None),
            (&*"a".repeat(4097), None),
        ] {
            fs::write(&path, text).unwrap();
            let read = Password::File(path.clone()).read();
            let read = read.ok().flatten();
            assert_eq!(
                read.as_ref().map(|it| it.as_slice()),
                password.map(str::as_bytes)
            );
        }
    }

    #[test]
    fn password_is_not_printed() {
        let password = Password::Environment(Zeroizing::new(b"secret".to_vec()));
        assert_eq!(format!("{password:?}"), "Environment(..)");
    }
}
