//! Warnings about the files of the store and of the audit log.

use std::path::Path;

use crate::audit::obstacle;
use crate::store::{Backend, KeySource, Options};

/// Returns a warning for each directory of the database and its key that does not exist. `init` and
/// `serve` create the files there, but not the directories.
pub(super) fn missing_directories(store: &Options) -> Vec<String> {
    let database = store.database.path().map(|path| ("store.url", path));
    let key = match &store.key {
        KeySource::File(path) => Some(("store.key_file", &**path)),
        KeySource::Credential(_) | KeySource::Environment(_) => None,
    };
    let missing = |(key, path): (&str, &Path)| {
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty())?;
        let is_missing = !directory.exists();
        is_missing.then(|| {
            let directory = directory.display();
            format!("{key}: directory {directory} does not exist, and realmgate does not create it")
        })
    };
    let is_beside = |(_, key): &(_, &Path)| {
        let database = store.database.path().and_then(Path::parent);
        database.is_some_and(|directory| key.parent() == Some(directory))
    };
    let key = key.filter(|key| !is_beside(key));
    database
        .into_iter()
        .chain(key)
        .filter_map(missing)
        .collect()
}

/// Returns a warning for each file with a secret of the store that other users can read.
pub(super) fn readable_secrets(store: &Options) -> Vec<String> {
    let password = match &store.database {
        Backend::Postgres(server) => server.password.exposed(),
        Backend::Sqlite { .. } => None,
    };
    let password = password.map(|it| ("password", it));
    let key = store.key.exposed().map(|it| ("key", it));
    let warning = |(what, (path, mode)): (_, (&Path, _))| {
        let path = path.display();
        format!("{what} file {path}: others can read it (mode {mode:04o}), expected mode 0600")
    };
    password.into_iter().chain(key).map(warning).collect()
}

/// Returns a warning if this user cannot write the audit log. The server may run as another user.
pub(super) fn unwritable(log: &Path) -> Option<String> {
    let why = obstacle(log)?;
    Some(format!(
        "audit.file = {log:?}: not writable by this user ({why}); `serve` and commands that change data need to write it"
    ))
}
