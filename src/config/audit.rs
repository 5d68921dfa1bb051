//! `[audit]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::database::{KeySource, Store};
use super::raw;
use super::source::{Checked, Source};

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The file; no audit log by default. Its head is in a file beside it with the suffix `.head`.
    pub file: Option<PathBuf>,
    /// The name of this node, in each line: `server.node`.
    pub node: Box<str>,
    /// The maximum number of lines per second that strangers can cause, 0 to 100,000; 100 by
    /// default. Further ones are counted.
    pub denials_per_second: u32,
    /// The interval at which the position of the last line is logged if it has moved; 1 min by
    /// default.
    pub note_every: Duration,
    /// How long repeated denials are counted before a line reports them; 1 min by default.
    pub repeats_every: Duration,
}

impl Source<'_> {
    pub(super) fn audit(
        &self,
        raw: &raw::Audit,
        store: Option<&Store>,
        node: Box<str>,
    ) -> Checked<Audit> {
        let is_taken = |file: &str| {
            let path = Path::new(file);
            store.is_some_and(|store| {
                store.database.path() == Some(path)
                    || matches!(&store.key, KeySource::File(key) if key == path)
            })
        };
        let file = match &raw.file {
            Some(file) if Path::new(file.get_ref()).file_name().is_none() => {
                Err(self.reject("audit.file", file, "the path of a file"))
            }
            Some(file) if is_taken(file.get_ref()) => {
                let expected = "another file than the database and its key";
                Err(self.reject("audit.file", file, expected))
            }
            file => Ok(file.as_ref().map(|file| PathBuf::from(file.get_ref()))),
        };
        let denials = raw.denials_per_second.as_ref();
        let denials = self.number("audit.denials_per_second", denials, 100, 0..=100_000);
        let note_every = self.duration("audit.note_every", raw.note_every.as_ref(), 60_000);
        let repeats_every = raw.repeats_every.as_ref();
        let repeats_every = self.duration("audit.repeats_every", repeats_every, 60_000);
        Ok(Audit {
            file: file?,
            node,
            denials_per_second: denials,
            note_every,
            repeats_every,
        })
    }
}
