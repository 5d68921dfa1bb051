//! Reads the tables: what was typed, or each key that does not exist or is of the wrong type.

use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::environment;
use super::listener::listen_or_off;
use super::raw::Raw;
use super::source::{Checked, Source};

type Value<'s> = Spanned<DeValue<'s>>;
type Mistyped = serde_path_to_error::Error<toml::de::Error>;

/// The most keys of one table that are looked at again, each without those before it.
const TRIES: usize = 50;

impl Source<'_> {
    /// Reads all keys. Without those that are recorded as mistakes, unless the file is no TOML at all.
    pub(super) fn read(&self) -> Checked<Raw> {
        // Nearly every file is right, and read once.
        match deserialize(self.parse()?) {
            Ok(raw) => Ok(raw),
            Err(_) => self.read_in_parts(),
        }
    }

    fn parse(&self) -> Checked<Spanned<DeTable<'_>>> {
        let (mut table, errors) = DeTable::parse_recoverable(self.file_text());
        if let Some(refused) = self.syntax(&errors) {
            return Err(refused);
        }
        for variable in self.variables() {
            let span = variable.value.clone();
            let section = table
                .get_mut()
                .entry(Spanned::new(span.clone(), variable.section.into()))
                .or_insert_with(|| Spanned::new(span.clone(), DeValue::Table(DeTable::new())));
            // A section that is no table is refused when it is read.
            if let DeValue::Table(section) = section.get_mut() {
                let key = (variable.section, variable.key);
                let value = environment::value(key, self.slice(span.clone()), &span);
                section.insert(Spanned::new(span, variable.key.into()), value);
            }
        }
        Ok(table)
    }

    /// Reads each table by itself, so that a mistake in one does not hide those in the others.
    fn read_in_parts(&self) -> Checked<Raw> {
        let mut kept = DeTable::new();
        let table = self.parse()?;
        let span = table.span();
        for (key, value) in table.into_inner() {
            let span = value.span();
            let value = match (value.into_inner(), &**key.get_ref()) {
                (DeValue::Array(items), name @ ("route" | "certificate")) => {
                    let items = items.into_iter().enumerate().map(|(at, item)| {
                        let span = item.span();
                        let part = Part {
                            key: &key,
                            within: Within::Item(at),
                        };
                        // It keeps its place, so that others keep theirs.
                        self.sound(&part, item).unwrap_or_else(|| {
                            self.leave_out(format!("{name}[{at}]"));
                            empty(span)
                        })
                    });
                    Some(DeValue::Array(items.collect()))
                }
                (DeValue::Table(entries), name @ ("upstream" | "realm")) => {
                    let entries = entries.into_iter().map(|(entry, item)| {
                        let span = item.span();
                        let part = Part {
                            key: &key,
                            within: Within::Entry(&entry),
                        };
                        // Others may name it.
                        let item = self.sound(&part, item).unwrap_or_else(|| {
                            self.leave_out(format!("{name}.{}", entry.get_ref()));
                            empty(span)
                        });
                        (entry, item)
                    });
                    Some(DeValue::Table(entries.collect()))
                }
                (value, _) => {
                    let value = Spanned::new(span.clone(), value);
                    let part = Part {
                        key: &key,
                        within: Within::Nothing,
                    };
                    self.sound(&part, value).map(Spanned::into_inner)
                }
            };
            match value {
                Some(value) => drop(kept.insert(key, Spanned::new(span, value))),
                None => self.leave_out(key.get_ref().to_string()),
            }
        }
        deserialize(Spanned::new(span, kept)).map_err(|error| self.mistyped(&error, None))
    }

    /// Returns a part of the file without the keys that are mistakes, each of which is recorded. None if it is one
    /// as a whole.
    fn sound<'s>(&self, part: &Part<'_, 's>, mut value: Value<'s>) -> Option<Value<'s>> {
        for _ in 0..TRIES {
            let Err(error) = deserialize(part.alone(value.clone())) else {
                return Some(value);
            };
            self.mistyped(&error, part.item());
            let segments: Vec<_> = error.path().iter().filter(|it| is_typed(it)).collect();
            let within = segments.get(part.depth()..).unwrap_or_default();
            let is_key = |it: &&Segment| matches!(it, Segment::Map { .. } | Segment::Enum { .. });
            let end = within.iter().rposition(is_key)?;
            let left_out = segments.get(..=part.depth() + end).unwrap_or_default();
            self.leave_out(dotted(left_out.iter().copied(), part.item()));
            remove(&mut value, within.get(..=end)?)?;
        }
        None
    }

    /// Records what serde refuses, in our words. `item` is the place in its array of a part that stands alone.
    fn mistyped(&self, error: &Mistyped, item: Option<usize>) -> super::source::Refused {
        let key = dotted(error.path().iter(), item);
        let message = error.inner().message();
        let span = error.inner().span().unwrap_or_default();
        let expected = message.split_once(", expected ").map(|(_, after)| after);
        match expected {
            Some(known) if message.starts_with("unknown field") => {
                let known = known.trim_start_matches("one of ").replace('`', "");
                self.unknown(key, &span, known)
            }
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
                // What stands in the wrong place may be a password, or a header's secret.
                let shown = if key.contains("_headers") || key.ends_with(".url") {
                    "…".to_owned()
                } else {
                    self.shown(span.clone())
                };
                self.refuse_as(&key, shown, span, expected)
            }
        }
    }
}

/// Where a part of the file stands.
struct Part<'a, 's> {
    key: &'a Spanned<std::borrow::Cow<'s, str>>,
    within: Within<'a, 's>,
}

enum Within<'a, 's> {
    /// It is all of its key.
    Nothing,
    /// It is one of an array.
    Item(usize),
    /// It is one of a table.
    Entry(&'a Spanned<std::borrow::Cow<'s, str>>),
}

impl<'s> Part<'_, 's> {
    /// Returns a file with this part alone.
    fn alone(&self, value: Value<'s>) -> Spanned<DeTable<'s>> {
        let span = value.span();
        let value = match self.within {
            Within::Nothing => value,
            Within::Item(_) => Spanned::new(
                span.clone(),
                DeValue::Array(std::iter::once(value).collect()),
            ),
            Within::Entry(entry) => {
                let mut table = DeTable::new();
                table.insert(entry.clone(), value);
                Spanned::new(span.clone(), DeValue::Table(table))
            }
        };
        let mut table = DeTable::new();
        table.insert(self.key.clone(), value);
        Spanned::new(span, table)
    }

    /// Returns how many segments of a path lead to it.
    const fn depth(&self) -> usize {
        match self.within {
            Within::Nothing => 1,
            Within::Item(_) | Within::Entry(_) => 2,
        }
    }

    const fn item(&self) -> Option<usize> {
        match self.within {
            Within::Item(at) => Some(at),
            Within::Nothing | Within::Entry(_) => None,
        }
    }
}

fn deserialize(table: Spanned<DeTable<'_>>) -> Result<Raw, Mistyped> {
    serde_path_to_error::deserialize(Deserializer::from(table))
}

fn empty<'s>(span: std::ops::Range<usize>) -> Value<'s> {
    Spanned::new(span, DeValue::Table(DeTable::new()))
}

/// Removes what a path leads to, whose last segment is a key. None if it leads nowhere.
fn remove(value: &mut Value<'_>, path: &[&Segment]) -> Option<()> {
    let (first, rest) = path.split_first()?;
    match (first, value.get_mut()) {
        (Segment::Map { key } | Segment::Enum { variant: key }, DeValue::Table(table)) => {
            if rest.is_empty() {
                table.remove(key.as_str()).map(drop)
            } else {
                remove(table.get_mut(key.as_str())?, rest)
            }
        }
        (Segment::Seq { index }, DeValue::Array(items)) => remove(items.get_mut(*index)?, rest),
        _ => None,
    }
}

/// Says whether a segment of a path was typed: serde makes others of the fields that carry spans.
fn is_typed(segment: &Segment) -> bool {
    match segment {
        Segment::Map { key } => !key.starts_with("$__serde_spanned"),
        Segment::Unknown => false,
        Segment::Seq { .. } | Segment::Enum { .. } => true,
    }
}

/// Writes a path as `route[2].path`. Its first index is `item`, if that is given.
fn dotted<'p>(path: impl Iterator<Item = &'p Segment>, mut item: Option<usize>) -> String {
    let mut dotted = String::new();
    for segment in path.filter(|it| is_typed(it)) {
        match segment {
            Segment::Seq { index } => {
                dotted.push_str(&format!("[{}]", item.take().unwrap_or(*index)));
            }
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
