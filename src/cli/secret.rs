use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::error::CliError;

/// The maximum size in bytes, more than any seed needs.
const MOST_BYTES: usize = 4096;

/// Returns the value of an option; `-` reads standard input, which `ps` does not show.
pub(super) fn value(given: &str) -> Result<Zeroizing<String>, CliError> {
    match given {
        "-" => file(Path::new("-")),
        given => Ok(Zeroizing::new(given.to_owned())),
    }
}

/// Returns the contents of a file, or of standard input for `-`.
pub(super) fn file(path: &Path) -> Result<Zeroizing<String>, CliError> {
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
    read.map_err(|error| CliError::Read(path.to_owned(), error))?;
    Ok(text)
}
