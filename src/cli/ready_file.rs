//! The ready file of a running server (`serve --ready-file`), which names its process and its listeners.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

use super::error::CliError;

/// The maximum size of the file in bytes.
const MOST: u64 = 64 << 10;

#[derive(Debug, Deserialize)]
pub(super) struct ReadyFile {
    /// The id of the process that serves.
    pub(super) pid: i32,
    /// The metrics listener; `None` if it is off.
    pub(super) metrics: Option<SocketAddr>,
    /// The listener of the admin page; `None` if it is off.
    pub(super) admin: Option<SocketAddr>,
    /// The last reload; `None` before the first one.
    pub(super) reload: Option<LastReload>,
}

/// A reload that SIGHUP has caused.
#[derive(Debug, Deserialize)]
pub(super) struct LastReload {
    /// How many there were.
    pub(super) number: u64,
    /// Why it was rejected; `None` if the new configuration is in effect.
    pub(super) error: Option<String>,
}

impl ReadyFile {
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let unreadable = |error| CliError::Read(path.to_owned(), error);
        let mut text = String::new();
        let mut file = File::open(path).map_err(unreadable)?.take(MOST);
        file.read_to_string(&mut text).map_err(unreadable)?;
        serde_json::from_str(&text).map_err(|error| unreadable(error.into()))
    }
}
