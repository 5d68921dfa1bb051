//! The files that a configuration is read from.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files and directories that a configuration was read from, each with its state just before it
/// was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs(BTreeMap<PathBuf, Input>);

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
    /// A directory whose files are included.
    Folder,
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
        if !self.0.contains_key(path) {
            let state = State::of(path);
            self.0.insert(path.to_owned(), Input { kind, state });
        }
    }

    /// Returns the same files with their current states.
    #[must_use]
    pub fn current(&self) -> Self {
        let state = |(path, input): (&PathBuf, &Input)| {
            let state = State::of(path);
            (path.clone(), Input { state, ..*input })
        };
        Self(self.0.iter().map(state).collect())
    }

    /// Adds the files of `earlier` that are not among these.
    pub fn join(&mut self, earlier: Self) {
        for (path, input) in earlier.0 {
            self.0.entry(path).or_insert(input);
        }
    }

    /// Returns a configuration file that is empty.
    pub fn empty_file(&self) -> Option<&Path> {
        let is_empty = |input: &Input| {
            input.kind == InputKind::Configuration && input.state.is_some_and(|it| it.bytes == 0)
        };
        let mut files = self.0.iter();
        files.find_map(|(path, input)| is_empty(input).then_some(path.as_path()))
    }
}
