use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::error::CliError;

/// More than any seed has, typed in groups.
const MOST_BYTES: usize = 4096;

/// Returns an option's value; `-` stands for what is on standard input, which `ps` does not show.
pub(super) fn value(given: &str) -> Result<Zeroizing<String>, CliError> {
    match given {
        "-" => file(Path::new("-")),
        given => Ok(Zeroizing::new(given.to_owned())),
    }
}

/// Returns what is in a file, or for `-` on standard input.
pub(super) fn file(path: &Path) -> Result<Zeroizing<String>, CliError> {
    // Of its full size from the start: one that grows leaves copies behind.
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
