use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use realmgate_core::{Parameters, Seed, Totp};
use zeroize::Zeroizing;

use super::credential_error::CredentialError;
use super::otpauth;

/// The maximum size of the file in bytes.
const MOST: u64 = 4096;

/// A seed in a file, which is read again when the file changes.
pub(super) struct SeedFile {
    path: PathBuf,
    /// Overrides the parameters in the file.
    parameters: Option<Parameters>,
    current: Mutex<Current>,
}

#[derive(Clone)]
struct Current {
    totp: Totp,
    version: Version,
}

/// Identifies a version of a file: its inode, size, and times of change in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version([i64; 4], [u64; 2]);

impl SeedFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It cannot be read, is too long, or contains no seed.
    pub(super) fn open(path: PathBuf) -> Result<Self, CredentialError> {
        let current = Current::read(&path)?;
        Ok(Self {
            path,
            parameters: None,
            current: Mutex::new(current),
        })
    }

    /// Returns it with other parameters.
    pub(super) fn with_parameters(&self, parameters: Parameters) -> Self {
        Self {
            path: self.path.clone(),
            parameters: Some(parameters),
            current: Mutex::new(self.lock().clone()),
        }
    }

    /// Returns the current token generator: that of the last valid seed if the file has become unreadable.
    pub(super) fn totp(&self) -> Totp {
        let mut current = self.lock();
        let version = std::fs::metadata(&self.path).map(|it| Version::of(&it));
        if version.is_ok_and(|version| version != current.version)
            && let Ok(read) = Current::read(&self.path)
        {
            *current = read;
        }
        match self.parameters {
            Some(parameters) => Totp::new(&current.totp.seed(), parameters),
            None => current.totp.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn read(path: &PathBuf) -> Result<Self, CredentialError> {
        let failed = |error| CredentialError::File(path.clone(), error);
        let mut file = File::open(path).map_err(failed)?;
        let version = Version::of(&file.metadata().map_err(failed)?);
        let mut text = Zeroizing::new(String::with_capacity(MOST as usize + 1));
        let limited = (&mut file).take(MOST + 1).read_to_string(&mut text);
        if limited.map_err(failed)? as u64 > MOST {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let totp = read_seed(text.trim())?;
        Ok(Self { totp, version })
    }
}

impl Version {
    fn of(found: &Metadata) -> Self {
        let times = [
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        ];
        Self(times, [found.ino(), found.size()])
    }
}

/// Reads a seed in base32, or an `otpauth://` URL.
pub(super) fn read_seed(text: &str) -> Result<Totp, CredentialError> {
    if otpauth::has_scheme(text) {
        return Ok(otpauth::parse(text)?.totp);
    }
    Ok(Totp::new(&Seed::from_base32(text)?, Parameters::default()))
}
