//! Where values come from: the file, and the environment over it. And the mistakes that are found in them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use zeroize::Zeroizing;

use super::environment::{self, is_ours};
use super::error::{Mistake, Mistakes, Place};
use super::validity::Validity;
use crate::store::KeySource;

/// The most characters of a value in a message.
const SHOWN: usize = 60;

/// The text of the file with one line for each variable after it, so that one span says where a value
/// stands, whichever of the two it is from.
pub(super) struct Source<'a> {
    file: &'a str,
    text: String,
    file_len: usize,
    variables: Vec<Variable>,
    keys: Option<Zeroizing<Vec<u8>>>,
    credentials: Option<PathBuf>,
    /// Each with the place where it begins in the text.
    mistakes: RefCell<Vec<(usize, Mistake)>>,
    /// The dotted paths of keys that are there and could not be read.
    left_out: RefCell<HashSet<String>>,
    /// Where the lines of the file begin.
    lines: OnceCell<Vec<usize>>,
    validities: RefCell<Vec<Validity>>,
    /// How many more there are.
    others: Cell<usize>,
}

/// A variable that overrides a key.
pub(super) struct Variable {
    name: String,
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) value: Range<usize>,
}

/// Says that a mistake has been recorded. Only [`Source`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(());

/// A value, or the record of why there is none.
pub(super) type Checked<T> = Result<T, Refused>;

/// Joins what was checked, after all of it was.
pub(super) fn all<T>(checked: impl Iterator<Item = Checked<T>>) -> Checked<Vec<T>> {
    let (mut all, mut refused) = (Vec::new(), None);
    for checked in checked {
        match checked {
            Ok(checked) => all.push(checked),
            Err(mistake) => refused = Some(mistake),
        }
    }
    refused.map_or(Ok(all), Err)
}

/// The most mistakes that are kept to be sorted; more are counted.
const KEPT: usize = 10_000;

impl<'a> Source<'a> {
    /// Takes a file and an environment. A variable that overrides nothing is recorded.
    pub(super) fn new(
        file: &'a str,
        text: &str,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut found = Vec::new();
        let (mut keys, mut credentials) = (None, None);
        for (name, value) in env {
            if name == KeySource::VARIABLE {
                keys = Some(Zeroizing::new(value.into_encoded_bytes()));
            } else if name == "CREDENTIALS_DIRECTORY" {
                credentials = Some(PathBuf::from(value));
            } else if is_ours(&name, &value) {
                found.push((name, value));
            }
        }
        found.sort();
        let mut source = Self {
            file,
            text: text.to_owned(),
            file_len: text.len(),
            variables: Vec::new(),
            keys,
            credentials,
            mistakes: RefCell::default(),
            left_out: RefCell::default(),
            lines: OnceCell::new(),
            validities: RefCell::default(),
            others: Cell::new(0),
        };
        for (name, value) in found {
            source.add(name.to_string_lossy().into_owned(), value);
        }
        source
    }

    fn add(&mut self, name: String, value: OsString) {
        let end = self.text.len();
        let (section, key) = match environment::key(&name) {
            Ok(found) => found,
            Err(expected) => {
                self.record(end, Mistake::UnknownVariable { name, expected });
                return;
            }
        };
        let Ok(value) = value.into_string() else {
            self.record(end, Mistake::VariableNotText(name));
            return;
        };
        self.text.push('\n');
        self.text.push_str(&name);
        self.text.push('=');
        let start = self.text.len();
        self.text.push_str(&value);
        self.variables.push(Variable {
            name,
            section,
            key,
            value: start..self.text.len(),
        });
    }

    /// Returns the text of the file.
    pub(super) fn file_text(&self) -> &str {
        self.slice(0..self.file_len)
    }

    /// Returns the variables that override keys.
    pub(super) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Returns what [`KeySource::VARIABLE`] holds.
    pub(super) fn keys(&self) -> Option<&[u8]> {
        self.keys.as_ref().map(|keys| keys.as_slice())
    }

    /// Returns the folder in which a service manager puts credentials.
    pub(super) fn credentials_folder(&self) -> Option<&Path> {
        self.credentials.as_deref()
    }

    /// Returns how many mistakes have been recorded.
    pub(super) fn count(&self) -> usize {
        self.mistakes.borrow().len() + self.others.get()
    }

    /// Returns what was checked if no mistake has been recorded, or else all mistakes.
    pub(super) fn outcome<T>(self, checked: Checked<T>) -> Result<T, Mistakes> {
        let mut mistakes = self.mistakes.into_inner();
        match checked {
            Ok(checked) if mistakes.is_empty() => Ok(checked),
            _ => {
                mistakes.sort_by_key(|(at, _)| *at);
                let mistakes = mistakes.into_iter().map(|(_, mistake)| mistake);
                Err(Mistakes::new(mistakes.collect(), self.others.get()))
            }
        }
    }

    /// Remembers how long certificates of a file are valid.
    pub(super) fn remember(&self, validity: Validity) {
        self.validities.borrow_mut().push(validity);
    }

    /// Returns what was remembered.
    pub(super) fn validities(&self) -> Vec<Validity> {
        self.validities.take()
    }

    /// Refuses a value.
    pub(super) fn refuse<T>(
        &self,
        key: &str,
        value: &Spanned<T>,
        expected: impl Into<String>,
    ) -> Refused {
        self.refuse_as(key, self.shown(value.span()), value.span(), expected)
    }

    /// Refuses a value that is not to be shown as it was typed, or that the key at `span` rules out.
    pub(super) fn refuse_as(
        &self,
        key: &str,
        value: String,
        span: Range<usize>,
        expected: impl Into<String>,
    ) -> Refused {
        let mistake = Mistake::Value {
            place: self.place(span.start),
            key: key.to_owned(),
            value,
            expected: expected.into(),
        };
        self.record(span.start, mistake)
    }

    /// Misses a key in the table at `span`, unless it is there and could not be read.
    pub(super) fn missing(
        &self,
        key: String,
        span: Range<usize>,
        expected: impl Into<String>,
    ) -> Refused {
        if self.is_left_out(&key) {
            return Refused(());
        }
        let mistake = Mistake::Missing {
            place: self.place(span.start),
            key,
            expected: expected.into(),
        };
        self.record(span.start, mistake)
    }

    /// Refuses a key that does not exist.
    pub(super) fn unknown(&self, key: String, span: &Range<usize>, known: String) -> Refused {
        let mistake = Mistake::UnknownKey {
            place: self.place(span.start),
            key,
            known,
        };
        self.record(span.start, mistake)
    }

    /// Refuses what is not TOML, if anything is not: the first error of each line, since others there follow from it.
    pub(super) fn syntax(&self, errors: &[toml::de::Error]) -> Option<Refused> {
        let (mut refused, mut last) = (None, 0);
        for error in errors {
            let start = error.span().map_or(0, |span| span.start);
            let line = self.line(start);
            if line == last {
                continue;
            }
            last = line;
            let begin = self.lines().get(line - 1).copied().unwrap_or_default();
            let mistake = Mistake::Syntax {
                file: self.file.to_owned(),
                line,
                column: self.slice(begin..start).chars().count() + 1,
                message: error.message().to_owned(),
            };
            refused = Some(self.record(start, mistake));
        }
        refused
    }

    /// Refuses what [`KeySource::VARIABLE`] holds.
    pub(super) fn no_key(&self) -> Refused {
        self.record(usize::MAX, Mistake::NotAKey)
    }

    /// Remembers that a key is there, although its value cannot be read.
    pub(super) fn leave_out(&self, key: String) {
        self.left_out.borrow_mut().insert(key);
    }

    /// Says whether a key, or a table that it is in, could not be read.
    fn is_left_out(&self, key: &str) -> bool {
        let left_out = self.left_out.borrow();
        let ends = key.match_indices(['.', '[']).map(|(end, _)| end);
        !left_out.is_empty()
            && ends
                .chain([key.len()])
                .filter_map(|end| key.get(..end))
                .any(|key| left_out.contains(key))
    }

    fn record(&self, at: usize, mistake: Mistake) -> Refused {
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() < KEPT {
            mistakes.push((at, mistake));
        } else {
            self.others.set(self.others.get() + 1);
        }
        Refused(())
    }

    fn place(&self, at: usize) -> Place {
        let variable = self
            .variables
            .iter()
            .find(|variable| variable.value.start <= at && at <= variable.value.end);
        match variable {
            Some(variable) => Place::Variable(variable.name.clone()),
            None => Place::Line(self.file.to_owned(), self.line(at)),
        }
    }

    /// Returns the number of the line that a place is in, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.lines().partition_point(|begin| *begin <= at).max(1)
    }

    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let ends = self.file_text().match_indices('\n').map(|(end, _)| end + 1);
            std::iter::once(0).chain(ends).collect()
        })
    }

    /// Returns what was typed, its first line, shortened, without control characters.
    pub(super) fn shown(&self, span: Range<usize>) -> String {
        let typed = self.slice(span);
        let line = typed.lines().next().unwrap_or_default();
        let mut shown: String = line
            .chars()
            .take(SHOWN)
            .flat_map(|char| {
                let escaped = char.is_control().then(|| char.escape_default());
                let plain = escaped.is_none().then_some(char);
                escaped.into_iter().flatten().chain(plain)
            })
            .collect();
        if line.len() < typed.len() || line.chars().count() > SHOWN {
            shown.push('…');
        }
        shown
    }

    pub(super) fn slice(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }
}
