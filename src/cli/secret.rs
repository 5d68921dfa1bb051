use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::error::CliError;
use super::option_error::OptionError;
use crate::auth::Totp;
use crate::client::{CredentialError, read_seed, shown_path};

/// The maximum size in bytes, more than any seed needs.
const MOST_BYTES: usize = 4096;

/// Returns the seed in an option or a variable; `-` reads standard input, which `ps` does not show. `file` is the option
/// for the name of a file.
pub(super) fn seed(
    option: &'static str,
    given: &str,
    file: &'static str,
) -> Result<Totp, CliError> {
    if given == "-" {
        return seed_file(Path::new(given));
    }
    read_seed(given).map_err(|error| {
        let is_name = matches!(error, CredentialError::Seed(_))
            && (given.contains(['/', '.']) || Path::new(given).exists());
        let error = match is_name {
            true => OptionError::FileName(option, file),
            false => OptionError::Seed(option, error),
        };
        error.into()
    })
}

/// Returns the seed in a file, or on standard input for `-`.
pub(super) fn seed_file(path: &Path) -> Result<Totp, CliError> {
    let named = match path.as_os_str() == "-" {
        true => Path::new("standard input"),
        false => path,
    };
    let failed = |error| CliError::SeedFile(shown_path(named).to_owned(), error);
    read_seed(&text(path)?).map_err(failed)
}

/// Returns the contents of a file, or of standard input for `-`.
fn text(path: &Path) -> Result<Zeroizing<String>, CliError> {
    // Allocated at its full size: a string that grows leaves copies of the seed behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * MOST_BYTES));
    let read = if path.as_os_str() == "-" {
        io::stdin()
            .lock()
            .take(MOST_BYTES as u64)
            .read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MOST_BYTES as u64).read_to_string(&mut text))
    };
    read.map_err(|error| CliError::Read(shown_path(path).to_owned(), error))?;
    Ok(text)
}
