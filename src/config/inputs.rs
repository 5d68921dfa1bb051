//! The files that a configuration is read from.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::folder::entries;

/// The files that a configuration was read from and the directories that were searched for them, each
/// with its state just before it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    files: BTreeMap<PathBuf, Input>,
    /// The names of the files that are included, by directory and pattern; `None` if the directory
    /// cannot be read. Other files there may change.
    folders: BTreeMap<(PathBuf, String), Option<Vec<String>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Input {
    kind: InputKind,
    /// `None` if the file cannot be examined.
    state: Option<State>,
}

/// The kind of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputKind {
    /// The configuration file, or an included one.
    Configuration,
    /// A PEM file.
    Pem,
}

/// What changes when a file is written, replaced, or reached over another symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

impl Inputs {
    /// Records a file that is about to be read. If it is read twice, the first state counts.
    pub(super) fn add(&mut self, path: &Path, kind: InputKind) {
        if !self.files.contains_key(path) {
            let state = State::of(path);
            self.files.insert(path.to_owned(), Input { kind, state });
        }
    }

    /// Records a directory that is about to be searched for files that match a pattern.
    pub(super) fn add_folder(&mut self, folder: &Path, pattern: &str) {
        let key = (folder.to_owned(), pattern.to_owned());
        let names = || entries(folder, pattern).ok();
        self.folders.entry(key).or_insert_with(names);
    }

    /// Returns the same files and directories with their current states.
    #[must_use]
    pub fn current(&self) -> Self {
        let state = |(path, input): (&PathBuf, &Input)| {
            let state = State::of(path);
            (path.clone(), Input { state, ..*input })
        };
        let names = |(key, _): (&(PathBuf, String), &_)| {
            let (folder, pattern) = key;
            (key.clone(), entries(folder, pattern).ok())
        };
        Self {
            files: self.files.iter().map(state).collect(),
            folders: self.folders.iter().map(names).collect(),
        }
    }

    /// Adds the files and directories of `earlier` that are not among these.
    pub fn join(&mut self, earlier: Self) {
        for (path, input) in earlier.files {
            self.files.entry(path).or_insert(input);
        }
        for (key, names) in earlier.folders {
            self.folders.entry(key).or_insert(names);
        }
    }

    /// Returns a configuration file that is empty.
    pub fn empty_file(&self) -> Option<&Path> {
        let is_empty = |input: &Input| {
            input.kind == InputKind::Configuration && input.state.is_some_and(|it| it.bytes == 0)
        };
        let mut files = self.files.iter();
        files.find_map(|(path, input)| is_empty(input).then_some(path.as_path()))
    }
}
