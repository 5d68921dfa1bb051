//! Describes an SQLite file.

use std::path::Path;
use std::time::Duration;

use super::open::{SCHEMAS, named_keys, open_existing};
use crate::access::{Need, Way};
use crate::inspection::Inspection;
use crate::open_error::OpenError;

/// Opens a file and describes it. Changes nothing.
pub(crate) fn inspect(path: &Path, timeout: Duration) -> Result<Inspection, OpenError> {
    if !path.try_exists().unwrap_or(true) {
        return Err(OpenError::Missing(path.into()));
    }
    let fail = |error| OpenError::Sqlite(path.into(), error);
    let opened = open_existing(path, Way::to_copy(path), timeout, fail);
    let (connection, schema) = opened.map_err(|error| error.explained(path, Need::Read))?;
    Ok(Inspection {
        elsewhere: Vec::new(),
        schema,
        known: SCHEMAS,
        keys: named_keys(&connection).map_err(fail)?,
        server: None,
    })
}
