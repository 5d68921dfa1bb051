//! The sources of values, the files and the environment, and the mistakes found in them.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use zeroize::Zeroizing;

use super::environment::{self, DATABASE_PASSWORD, STORE_KEY, is_ours};
use super::error::{Mistake, Mistakes, Place};
use super::include::{IncludedFile, Mistaken};
use super::inputs::{InputKind, Inputs};
use super::located::Located;
use super::text::Text;
use super::validity::Validity;

/// The maximum number of characters of a value in a message.
const SHOWN: usize = 60;

/// The texts of the files, followed by a line for each variable, so that a span identifies the
/// position of a value in any of them.
pub(super) struct Source<'a> {
    text: Text<'a>,
    /// What is wrong with `include`, until it is recorded.
    misincluded: RefCell<Vec<Mistaken>>,
    inputs: RefCell<Inputs>,
    variables: Vec<Variable>,
    keys: Option<Zeroizing<Vec<u8>>>,
    /// The password of the database.
    password: Option<Zeroizing<Vec<u8>>>,
    credentials: Option<PathBuf>,
    /// The recorded mistakes, each with its position in the text.
    mistakes: RefCell<Vec<(usize, Mistake)>>,
    /// The dotted paths of keys that exist but could not be read.
    left_out: RefCell<HashSet<String>>,
    validities: RefCell<Vec<Validity>>,
    /// The number of mistakes beyond [`KEPT`].
    others: Cell<usize>,
}

/// An environment variable that overrides a key.
pub(super) struct Variable {
    name: String,
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) value: Range<usize>,
}

/// Proof that a mistake was recorded. Only [`Source`] can make one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rejected(());

/// A checked value, or proof that a mistake was recorded.
pub(super) type Checked<T> = Result<T, Rejected>;

/// Collects the values after all of them have been checked.
pub(super) fn all<T>(checked: impl Iterator<Item = Checked<T>>) -> Checked<Vec<T>> {
    let (mut all, mut rejected) = (Vec::new(), None);
    for checked in checked {
        match checked {
            Ok(checked) => all.push(checked),
            Err(mistake) => rejected = Some(mistake),
        }
    }
    rejected.map_or(Ok(all), Err)
}

/// The maximum number of mistakes that are kept and sorted; further ones are counted.
const KEPT: usize = 10_000;

impl<'a> Source<'a> {
    /// Takes a file, those that it includes, and an environment. Records variables that override no
    /// key.
    pub(super) fn new(
        (name, text): (&'a str, &str),
        (included, misincluded): (&'a [IncludedFile], Vec<Mistaken>),
        inputs: Inputs,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut found = Vec::new();
        let (mut keys, mut password, mut credentials) = (None, None, None);
        for (name, value) in env {
            if name == STORE_KEY {
                keys = Some(Zeroizing::new(value.into_encoded_bytes()));
            } else if name == DATABASE_PASSWORD && !value.is_empty() {
                password = Some(Zeroizing::new(value.into_encoded_bytes()));
            } else if name == "CREDENTIALS_DIRECTORY" {
                credentials = Some(PathBuf::from(value));
            } else if is_ours(&name, &value) {
                found.push((name, value));
            }
        }
        found.sort();
        let mut source = Self {
            text: Text::new(name, text, included),
            misincluded: RefCell::new(misincluded),
            inputs: RefCell::new(inputs),
            variables: Vec::new(),
            keys,
            password,
            credentials,
            mistakes: RefCell::default(),
            left_out: RefCell::default(),
            validities: RefCell::default(),
            others: Cell::new(0),
        };
        for (name, value) in found {
            source.add(name.to_string_lossy().into_owned(), value);
        }
        source
    }

    fn add(&mut self, name: String, value: OsString) {
        let end = self.text.end();
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
        let value = self.text.add_line(&name, &value);
        self.variables.push(Variable {
            name,
            section,
            key,
            value,
        });
    }

    /// Returns the texts.
    pub(super) const fn text(&self) -> &Text<'a> {
        &self.text
    }

    /// Records that a PEM file is about to be read.
    pub(super) fn reads(&self, file: &str) {
        let mut inputs = self.inputs.borrow_mut();
        inputs.add(Path::new(file), InputKind::Pem);
    }

    /// Records what is wrong with `include`.
    pub(super) fn reject_includes(&self) {
        for wrong in self.misincluded.take() {
            let shown = self.shown(wrong.span.clone());
            self.reject_as(&wrong.key, shown, wrong.span, wrong.expected);
        }
    }

    /// Returns the variables that override keys.
    pub(super) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Returns the value of [`STORE_KEY`].
    pub(super) fn keys(&self) -> Option<&[u8]> {
        self.keys.as_ref().map(|keys| keys.as_slice())
    }

    /// Returns the value of [`DATABASE_PASSWORD`].
    pub(super) fn database_password(&self) -> Option<&[u8]> {
        self.password.as_ref().map(|password| password.as_slice())
    }

    /// Returns the directory in which a service manager provides credentials.
    pub(super) fn credentials_folder(&self) -> Option<&Path> {
        self.credentials.as_deref()
    }

    /// Returns the number of recorded mistakes.
    pub(super) fn count(&self) -> usize {
        self.mistakes.borrow().len() + self.others.get()
    }

    /// Returns the value if no mistake was recorded, else all mistakes, and the files that were
    /// read.
    pub(super) fn outcome<T>(self, checked: Checked<T>) -> (Result<T, Mistakes>, Inputs) {
        let mut mistakes = self.mistakes.into_inner();
        let outcome = match checked {
            Ok(checked) if mistakes.is_empty() => Ok(checked),
            _ => {
                mistakes.sort_by_key(|(at, _)| *at);
                let mistakes = mistakes.into_iter().map(|(_, mistake)| mistake);
                Err(Mistakes::new(mistakes.collect(), self.others.get()))
            }
        };
        (outcome, self.inputs.into_inner())
    }

    /// Stores the validity of the certificates of a file.
    pub(super) fn remember(&self, validity: Validity) {
        self.validities.borrow_mut().push(validity);
    }

    /// Returns the stored validities.
    pub(super) fn validities(&self) -> Vec<Validity> {
        self.validities.take()
    }

    /// Rejects a value.
    pub(super) fn reject<T>(
        &self,
        key: &str,
        value: &Spanned<T>,
        expected: impl Into<String>,
    ) -> Rejected {
        self.reject_as(key, self.shown(value.span()), value.span(), expected)
    }

    /// Rejects a value that must not be shown as typed, or that conflicts with the key at `span`.
    pub(super) fn reject_as(
        &self,
        key: &str,
        value: String,
        span: Range<usize>,
        expected: impl Into<String>,
    ) -> Rejected {
        let mistake = Mistake::Value {
            place: self.place(span.start),
            key: key.to_owned(),
            value,
            expected: expected.into(),
        };
        self.record(span.start, mistake)
    }

    /// Records a missing key of the table at `span`, unless the key exists and could not be read.
    pub(super) fn missing(
        &self,
        key: String,
        span: Range<usize>,
        expected: impl Into<String>,
    ) -> Rejected {
        if self.is_left_out(&key) {
            return Rejected(());
        }
        let mistake = Mistake::Missing {
            place: self.place(span.start),
            key,
            expected: expected.into(),
        };
        self.record(span.start, mistake)
    }

    /// Rejects a key that does not exist.
    pub(super) fn unknown(&self, key: String, span: &Range<usize>, known: String) -> Rejected {
        let mistake = Mistake::UnknownKey {
            place: self.place(span.start),
            key,
            known,
        };
        self.record(span.start, mistake)
    }

    /// Rejects a file that is not TOML and that begins at `base`. Records the first error of each
    /// line, because further ones there follow from it.
    pub(super) fn syntax(&self, errors: &[toml::de::Error], base: usize) -> Option<Rejected> {
        let (mut rejected, mut last) = (None, 0);
        for error in errors {
            let span = error.span().unwrap_or_default();
            let start = base + span.start;
            let line = self.text.line(start);
            if line == last {
                continue;
            }
            last = line;
            let mistake = Mistake::Syntax {
                file: self.text.name(start).to_owned(),
                line,
                column: self.text.column(start),
                message: match error.message() {
                    // The name of a key or of a table.
                    text @ "duplicate key" => {
                        format!("{text} {}", self.slice(start..base + span.end))
                    }
                    text => text.to_owned(),
                },
            };
            rejected = Some(self.record(start, mistake));
        }
        rejected
    }

    /// Returns a setting that the module that uses it checks.
    /// Errors show it as `shown`.
    pub(super) fn located(
        &self,
        key: &'static str,
        raw: &Spanned<String>,
        shown: String,
    ) -> Located {
        Located {
            text: raw.get_ref().clone(),
            shown,
            place: self.place(raw.span().start),
            key,
        }
    }

    /// Remembers that a key exists although its value could not be read.
    pub(super) fn leave_out(&self, key: String) {
        self.left_out.borrow_mut().insert(key);
    }

    /// Returns whether a key, or a table that contains it, could not be read.
    fn is_left_out(&self, key: &str) -> bool {
        let left_out = self.left_out.borrow();
        let ends = key.match_indices(['.', '[']).map(|(end, _)| end);
        !left_out.is_empty()
            && ends
                .chain([key.len()])
                .filter_map(|end| key.get(..end))
                .any(|key| left_out.contains(key))
    }

    fn record(&self, at: usize, mistake: Mistake) -> Rejected {
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() < KEPT {
            mistakes.push((at, mistake));
        } else {
            self.others.set(self.others.get() + 1);
        }
        Rejected(())
    }

    pub(super) fn place(&self, at: usize) -> Place {
        let variable = self
            .variables
            .iter()
            .find(|variable| variable.value.start <= at && at <= variable.value.end);
        match variable {
            Some(variable) => Place::Variable(variable.name.clone()),
            None => Place::Line(self.text.name(at).to_owned(), self.text.line(at)),
        }
    }

    /// Returns the first line of the text at `span`, truncated and without control characters.
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
        self.text.slice(span)
    }
}
