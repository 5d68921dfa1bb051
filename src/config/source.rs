//! Where values come from: the file, and the environment over it.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::check::listen_or_off;
use super::error::{ConfigError, Place};
use super::raw::{Raw, sections};
use crate::store::KeySource;

/// The prefix of every variable that is looked at.
const PREFIX: &str = "REALMGATE_";

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
}

struct Variable {
    name: String,
    section: &'static str,
    key: &'static str,
    value: Range<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        file: &'a str,
        text: &str,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut found = Vec::new();
        let (mut keys, mut credentials) = (None, None);
        for (name, value) in env {
            if name == KeySource::VARIABLE {
                keys = Some(Zeroizing::new(value.into_encoded_bytes()));
            } else if name == "CREDENTIALS_DIRECTORY" {
                credentials = Some(PathBuf::from(value));
            } else if is_ours(&name) {
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
        };
        for (name, value) in found {
            source.add(&name.to_string_lossy(), value)?;
        }
        Ok(source)
    }

    fn add(&mut self, name: &str, value: OsString) -> Result<(), ConfigError> {
        let (section, key) = find(name)?;
        let Ok(value) = value.into_string() else {
            return Err(ConfigError::VariableNotText(name.to_owned()));
        };
        self.text.push('\n');
        self.text.push_str(name);
        self.text.push('=');
        let start = self.text.len();
        self.text.push_str(&value);
        self.variables.push(Variable {
            name: name.to_owned(),
            section,
            key,
            value: start..self.text.len(),
        });
        Ok(())
    }

    /// Reads all keys.
    pub(super) fn read(&self) -> Result<Raw, ConfigError> {
        let file = self.slice(0..self.file_len);
        let mut table = DeTable::parse(file).map_err(|error| self.syntax(&error))?;
        for variable in &self.variables {
            self.put(variable, table.get_mut());
        }
        let deserializer = toml::de::Deserializer::from(table);
        serde_path_to_error::deserialize(deserializer).map_err(|error| self.mistyped(&error))
    }

    fn put<'s>(&'s self, variable: &Variable, root: &mut DeTable<'s>) {
        let span = variable.value.clone();
        let section = root
            .entry(Spanned::new(span.clone(), variable.section.into()))
            .or_insert_with(|| Spanned::new(span.clone(), DeValue::Table(DeTable::new())));
        // A section that is no table is refused when it is read.
        if let DeValue::Table(section) = section.get_mut() {
            let value = value(self.slice(span.clone()), &span);
            section.insert(Spanned::new(span, variable.key.into()), value);
        }
    }

    /// Returns what [`KeySource::VARIABLE`] holds.
    pub(super) fn keys(&self) -> Option<&[u8]> {
        self.keys.as_ref().map(|keys| keys.as_slice())
    }

    /// Returns the folder in which a service manager puts credentials.
    pub(super) fn credentials_folder(&self) -> Option<&Path> {
        self.credentials.as_deref()
    }

    /// Refuses a value.
    pub(super) fn refuse<T>(
        &self,
        key: &str,
        value: &Spanned<T>,
        expected: impl Into<String>,
    ) -> ConfigError {
        self.refuse_as(key, self.shown(value.span()), value.span(), expected)
    }

    /// Refuses a value that is not to be shown as it was typed, or that the key at `span` rules out.
    pub(super) fn refuse_as(
        &self,
        key: &str,
        value: String,
        span: Range<usize>,
        expected: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Value {
            place: self.place(span.start),
            key: key.to_owned(),
            value,
            expected: expected.into(),
        }
    }

    /// Misses a key in the table at `span`.
    pub(super) fn missing(
        &self,
        key: String,
        span: Range<usize>,
        expected: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Missing {
            place: self.place(span.start),
            key,
            expected: expected.into(),
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let start = error.span().map_or(0, |span| span.start);
        let before = self.slice(0..start);
        let line = before.rsplit('\n').next().unwrap_or_default();
        ConfigError::Syntax {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            message: error.message().to_owned(),
        }
    }

    /// Puts what serde says into our words.
    fn mistyped(&self, error: &serde_path_to_error::Error<toml::de::Error>) -> ConfigError {
        let key = dotted(error.path());
        let message = error.inner().message();
        let span = error.inner().span().unwrap_or_default();
        let expected = message.split_once(", expected ").map(|(_, after)| after);
        match expected {
            Some(known) if message.starts_with("unknown field") => ConfigError::UnknownKey {
                place: self.place(span.start),
                key,
                known: known.trim_start_matches("one of ").replace('`', ""),
            },
            _ => {
                let or_off = listen_or_off(&key);
                let expected = match expected.unwrap_or(message) {
                    "a sequence" if key == "route" => "an array; write [[route]]",
                    "a sequence" if key == "certificate" => "an array; write [[certificate]]",
                    "a map" if key == "upstream" => "a table; write [upstream.NAME]",
                    "a map" if key == "realm" => "a table; write [realm.NAME]",
                    "a string" if or_off.is_some() => or_off.as_deref().unwrap_or_default(),
                    "i64" => "a whole number",
                    "a boolean" => "true or false",
                    "a sequence" => "an array",
                    "a map" => "a table",
                    other => other,
                };
                // What stands in the wrong place may be a password, or a field's secret.
                let shown = if key.contains("_headers") || key.ends_with(".url") {
                    "…".to_owned()
                } else {
                    self.shown(span.clone())
                };
                self.refuse_as(&key, shown, span, expected)
            }
        }
    }

    fn place(&self, at: usize) -> Place {
        let variable = self
            .variables
            .iter()
            .find(|variable| variable.value.start <= at && at <= variable.value.end);
        match variable {
            Some(variable) => Place::Variable(variable.name.clone()),
            None => {
                let line = self.slice(0..at).matches('\n').count() + 1;
                Place::Line(self.file.to_owned(), line)
            }
        }
    }

    /// Returns what was typed, its first line, shortened, without control characters.
    fn shown(&self, span: Range<usize>) -> String {
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

    fn slice(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }
}

/// Reads the value of a variable: a TOML boolean, integer, string or array, or else a bare string.
fn value<'s>(text: &'s str, span: &Range<usize>) -> Spanned<DeValue<'s>> {
    match DeValue::parse(text) {
        Ok(value)
            if matches!(
                value.get_ref(),
                DeValue::Boolean(_) | DeValue::Integer(_) | DeValue::String(_) | DeValue::Array(_)
            ) =>
        {
            moved(value, span.start)
        }
        _ => Spanned::new(span.clone(), DeValue::String(text.into())),
    }
}

/// Moves the spans of a value, and of what is in it, towards the end of the text.
fn moved(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let inner = match value.into_inner() {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| moved(item, by)).collect())
        }
        other => other,
    };
    Spanned::new(span.start + by..span.end + by, inner)
}

/// Says whether a variable is meant for the configuration.
///
/// Two are the command line's. For a service called `realmgate`, Kubernetes adds variables of its own
/// to every container of the namespace.
fn is_ours(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let command_line = matches!(rest, "CONFIG" | "SEED");
    let kubernetes = matches!(rest, "PORT" | "SERVICE_HOST" | "SERVICE_PORT")
        || rest.starts_with("PORT_")
        || rest.starts_with("SERVICE_PORT_");
    !command_line && !kubernetes
}

/// Finds the key that a variable overrides.
fn find(name: &str) -> Result<(&'static str, &'static str), ConfigError> {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    let (typed_section, typed_key) = rest.split_once('_').unwrap_or((rest, ""));
    let unknown = |names: Vec<&str>, prefix: &str| ConfigError::UnknownVariable {
        name: name.to_owned(),
        expected: format!("{prefix} and one of {}", names.join(", ").to_uppercase()),
    };
    let sections = sections();
    let Some((section, keys)) = sections
        .iter()
        .find(|(section, _)| section.to_uppercase() == typed_section)
    else {
        let names = sections.iter().map(|(section, _)| *section).collect();
        return Err(unknown(names, PREFIX));
    };
    keys.iter()
        .find(|key| key.to_uppercase() == typed_key)
        .map(|key| (*section, *key))
        .ok_or_else(|| unknown(keys.to_vec(), &format!("{PREFIX}{typed_section}_")))
}

/// Writes a path as `route[2].path`, without the fields that carry spans.
fn dotted(path: &serde_path_to_error::Path) -> String {
    let mut dotted = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => dotted.push_str(&format!("[{index}]")),
            Segment::Map { key } if key.starts_with("$__serde_spanned") => {}
            Segment::Map { key } | Segment::Enum { variant: key } => {
                if !dotted.is_empty() {
                    dotted.push('.');
                }
                dotted.push_str(key);
            }
            Segment::Unknown => {}
        }
    }
    dotted
}
