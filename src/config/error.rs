use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// The maximum number of mistakes in an error message.
const SHOWN: usize = 50;

/// Why there is no valid configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read, or is not UTF-8.
    #[error("{0}: cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file or the environment has mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

impl ConfigError {
    /// Makes an error of mistakes that a module has found in its settings.
    pub fn of(mistakes: Vec<Mistake>) -> Self {
        Self::Mistakes(Mistakes::new(mistakes, 0))
    }
}

/// The mistakes in a configuration, at least one.
///
/// The Display output has a line for each.
#[derive(Debug, Error)]
pub struct Mistakes {
    first: Vec<Mistake>,
    others: usize,
}

impl Mistakes {
    /// Makes an error of `mistakes` in their order. `others` is the number of further ones.
    pub(super) fn new(mut mistakes: Vec<Mistake>, others: usize) -> Self {
        let others = others + mistakes.len().saturating_sub(SHOWN);
        mistakes.truncate(SHOWN);
        Self {
            first: mistakes,
            others,
        }
    }

    /// Returns the first 50: those in the file by line, then those in variables by name.
    pub fn first(&self) -> &[Mistake] {
        &self.first
    }

    /// Returns the number of further mistakes.
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

/// A mistake. The Display output is one line.
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
        /// The message of the parser.
        message: String,
    },
    /// The key does not exist.
    #[error(
        "{place}: {key}: unknown key{}, expected one of {known}",
        similar(key, known)
    )]
    UnknownKey {
        /// The position of the key.
        place: Place,
        /// The dotted path of the key.
        key: String,
        /// The valid keys of its table.
        known: String,
    },
    /// A required key is missing.
    #[error("{place}: {key}: missing, expected {expected}")]
    Missing {
        /// The position of its table.
        place: Place,
        /// The dotted path of the key.
        key: String,
        /// The valid values.
        expected: String,
    },
    /// The value is not valid.
    #[error("{place}: {key} = {value}: expected {expected}")]
    Value {
        /// The position of the value.
        place: Place,
        /// The dotted path of its key.
        key: String,
        /// The value as typed, truncated.
        value: String,
        /// The valid values.
        expected: String,
    },
    /// The environment variable overrides no key.
    #[error("{name}: unknown variable, expected {expected}")]
    UnknownVariable {
        /// The name of the variable.
        name: String,
        /// The valid names.
        expected: String,
    },
    /// The value of the environment variable is not UTF-8.
    #[error("{0}: not UTF-8")]
    VariableNotText(String),
    /// The value of the environment variable is not a list of keys. It is not shown.
    #[error("{variable}: is not a key, expected {form}")]
    NotAKey {
        /// The name of the variable.
        variable: &'static str,
        /// The valid form.
        form: &'static str,
    },
}

/// Keys that people write for others, which no measure of letters finds.
const SYNONYMS: [(&str, &str); 1] = [("proxy", "gateway")];

/// The least similarity of a suggestion.
const SIMILAR: f64 = 0.8;

/// Suggests the known key that is most similar to the last one of a path; empty if none is.
fn similar(path: &str, known: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    // A remark in brackets may follow.
    let known = known.split(" (").next().unwrap_or(known);
    let known = known.split([',', ' ']).filter(|it| !it.is_empty());
    let synonym = SYNONYMS.iter().find(|(written, _)| *written == key);
    let found = known
        .map(|it| {
            let is_meant = synonym.is_some_and(|(_, meant)| *meant == it);
            let likeness = strsim::jaro_winkler(key, it);
            (if is_meant { 1.0 } else { likeness }, it)
        })
        .filter(|(likeness, _)| *likeness > SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    found.map_or_else(String::new, |(_, it)| format!(" (did you mean {it}?)"))
}

/// The position of a key or value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the file, counted from 1.
    Line(String, usize),
    /// The environment variable of this name.
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
