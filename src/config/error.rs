use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::store::{KeySource, Keys};

/// The most mistakes that an error names.
const SHOWN: usize = 50;

/// Why there is no [`Config`](super::Config).
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read, or is not UTF-8.
    #[error("{0}: cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// Something in the file or in the environment is wrong.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// Everything that is wrong: at least one mistake.
///
/// Displays as a line for each mistake.
#[derive(Debug, Error)]
pub struct Mistakes {
    first: Vec<Mistake>,
    others: usize,
}

impl Mistakes {
    /// Takes mistakes in their order, and how many there are besides.
    pub(super) fn new(mut mistakes: Vec<Mistake>, others: usize) -> Self {
        let others = others + mistakes.len().saturating_sub(SHOWN);
        mistakes.truncate(SHOWN);
        Self {
            first: mistakes,
            others,
        }
    }

    /// Returns the first 50: those of the file by line, then those of variables by name.
    pub fn first(&self) -> &[Mistake] {
        &self.first
    }

    /// Returns how many more there are.
    pub fn others(&self) -> usize {
        self.others
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.first.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        match self.others {
            0 => Ok(()),
            others => write!(f, "\nand {others} more"),
        }
    }
}

/// One thing that is wrong. Displays as one line.
#[derive(Debug, Error)]
pub enum Mistake {
    /// The file is not TOML.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that does not exist.
    #[error("{place}: {key}: unknown key, expected one of {known}")]
    UnknownKey {
        /// Where it stands.
        place: Place,
        /// Its dotted path.
        key: String,
        /// The keys that exist beside it.
        known: String,
    },
    /// A key that must be there.
    #[error("{place}: {key}: missing, expected {expected}")]
    Missing {
        /// Where its table stands.
        place: Place,
        /// Its dotted path.
        key: String,
        /// What it may hold.
        expected: String,
    },
    /// A value that is not allowed.
    #[error("{place}: {key} = {value}: expected {expected}")]
    Value {
        /// Where it stands.
        place: Place,
        /// The dotted path of its key.
        key: String,
        /// The value as it was typed, shortened.
        value: String,
        /// What the key may hold.
        expected: String,
    },
    /// An environment variable that overrides nothing.
    #[error("{name}: unknown variable, expected {expected}")]
    UnknownVariable {
        /// Its name.
        name: String,
        /// The names that would do.
        expected: String,
    },
    /// An environment variable whose value is not UTF-8.
    #[error("{0}: not UTF-8")]
    VariableNotText(String),
    /// [`KeySource::VARIABLE`] holds something else than keys, which is not shown.
    #[error("{variable}: is no key, expected {form}", variable = KeySource::VARIABLE, form = Keys::FORM)]
    NotAKey,
}

/// Where a key was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file, at a line counted from 1.
    Line(String, usize),
    /// In the environment variable of this name.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}
