use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use realmgate_core::{Parameters, Seed, Totp};
use serde::Deserialize;
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
        let failed = |error| CredentialError::File(shown_path(path).to_owned(), error);
        let mut file = File::open(path).map_err(failed)?;
        let version = Version::of(&file.metadata().map_err(failed)?);
        let mut text = Zeroizing::new(String::with_capacity(MOST as usize + 1));
        let limited = (&mut file).take(MOST + 1).read_to_string(&mut text);
        if limited.map_err(failed)? as u64 > MOST {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let totp = read_seed(&text)?;
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

/// Reads a seed with its parameters: base32, an `otpauth://` URL, or an identity in JSON, as `realmgate identity create`
/// and the administration API print it. Ignores white space around it.
///
/// # Errors
/// It is none of these.
pub fn read_seed(text: &str) -> Result<Totp, CredentialError> {
    let text = text.trim();
    if otpauth::has_scheme(text) {
        return Ok(otpauth::parse(text)?.totp);
    }
    if text.starts_with('{') {
        return Printed::read(text);
    }
    Ok(Totp::new(&Seed::from_base32(text)?, Parameters::default()))
}

/// Returns the name of a seed file for a message. If it looks like a seed, perhaps a mistyped one, and there is no such
/// file, it is not shown.
#[must_use]
pub fn shown_path(path: &Path) -> &Path {
    let is_seed = |text: &str| {
        let text = text.trim_start();
        let is_of_seed = |char: char| char.is_ascii_alphanumeric() || "= ".contains(char);
        let is_long = text.len() >= 16 && text.chars().all(is_of_seed);
        is_long || text.starts_with('{') || otpauth::has_scheme(text) || read_seed(text).is_ok()
    };
    match path.to_str().is_some_and(is_seed) && !path.exists() {
        true => Path::new("(not shown: it looks like a seed, not like the name of a file)"),
        false => path,
    }
}

/// The members of an identity in JSON that a token depends on. Borrows, so that no copy of the seed is left behind.
#[derive(Deserialize)]
struct Printed<'a> {
    seed: &'a str,
    algorithm: Option<&'a str>,
    digits: Option<u8>,
    period: Option<u16>,
    /// In the JSON of the administration API, the three above are in here.
    parameters: Option<Computed<'a>>,
}

#[derive(Deserialize)]
struct Computed<'a> {
    algorithm: &'a str,
    digits: u8,
    period: u16,
}

impl Printed<'_> {
    fn read(text: &str) -> Result<Totp, CredentialError> {
        // The error could contain a part of the text.
        let read: Printed<'_> = serde_json::from_str(text).map_err(|_| CredentialError::Json)?;
        let (algorithm, digits, period) = match read.parameters {
            Some(it) => (Some(it.algorithm), Some(it.digits), Some(it.period)),
            None => (read.algorithm, read.digits, read.period),
        };
        let default = Parameters::default();
        let algorithm = algorithm.map(str::parse).transpose()?;
        let parameters = Parameters::new(
            algorithm.unwrap_or_else(|| default.algorithm()),
            digits.unwrap_or_else(|| default.digits()),
            period.unwrap_or_else(|| default.period()),
        )?;
        Ok(Totp::new(&Seed::from_base32(read.seed)?, parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn identity_in_json_is_a_seed_with_its_parameters() {
        let plain = Totp::new(&Seed::from_base32(SEED).unwrap(), Parameters::default());
        for text in [
            format!("{{\"name\":\"admin\",\"realm\":\"ops\",\"seed\":\"{SEED}\"}}\n"),
            format!(
                "{{\"id\":2,\"algorithm\":\"SHA1\",\"digits\":6,\"period\":30,\"comment\":\"a \\u00e9\",\"seed\":\"{SEED}\"}}"
            ),
        ] {
            let read = read_seed(&text).unwrap();
            assert_eq!(read.seed(), plain.seed(), "{text}");
            assert_eq!(read.parameters(), plain.parameters(), "{text}");
        }
        let others = "\"algorithm\":\"SHA256\",\"digits\":8,\"period\":60";
        let expected = Parameters::new(realmgate_core::Algorithm::Sha256, 8, 60).unwrap();
        for text in [
            format!("{{\"seed\":\"{SEED}\",{others}}}"),
            format!("{{\"seed\":\"{SEED}\",\"parameters\":{{{others}}}}}"),
        ] {
            assert_eq!(read_seed(&text).unwrap().parameters(), expected, "{text}");
        }
    }

    #[test]
    fn json_of_anything_else_is_rejected_without_showing_it() {
        for text in [
            "{}".to_owned(),
            "{\"seed\":null}".to_owned(),
            format!("{{\"seed\":\"{SEED}\"}}\n{{\"seed\":\"{SEED}\"}}"),
            format!("{{\"seed\":\"{SEED}\",\"digits\":20}}"),
            format!("{{\"seed\":\"{SEED}!\"}}"),
            format!("[{{\"seed\":\"{SEED}\"}}]"),
        ] {
            let error = read_seed(&text).map(|_| ()).unwrap_err();
            assert!(!error.to_string().contains(SEED), "{text}: {error}");
        }
    }
}
