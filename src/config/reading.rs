//! Reads the tables, and finds every unknown key and every value of the wrong type.

use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::environment;
use super::listener::listen_or_off;
use super::merging::{merge, shifted_table};
use super::raw::Raw;
use super::source::{Checked, Source, all};

type Value<'s> = Spanned<DeValue<'s>>;
type Mistyped = serde_path_to_error::Error<toml::de::Error>;

/// The keys of lists of networks.
const NETWORKS: [&str; 3] = [".trusted_proxies", ".proxy_protocol", ".from"];

/// The maximum number of mistakes that are found in one part, each by a further attempt.
const TRIES: usize = 50;

impl Source<'_> {
    /// Reads all keys. Mistakes are recorded and their keys left out. Fails only if the file is not
    /// TOML.
    pub(super) fn read(&self) -> Checked<Raw> {
        self.reject_includes();
        // Most files are correct and are read only once.
        match deserialize(self.parse(true)?) {
            Ok(raw) => Ok(raw),
            Err(_) => self.read_in_parts(),
        }
    }

    /// Parses the files. Records mistakes in the tables of included files the first time only.
    fn parse(&self, is_first: bool) -> Checked<Spanned<DeTable<'_>>> {
        let parsed = self.text().files().map(|(text, base)| {
            let (table, errors) = DeTable::parse_recoverable(text);
            match self.syntax(&errors, base) {
                Some(rejected) => Err(rejected),
                None => Ok((table, base)),
            }
        });
        let mut parsed = all(parsed)?.into_iter();
        let main = parsed.next().map(|(table, _)| table);
        let mut table = main.unwrap_or_else(|| Spanned::new(0..0, DeTable::new()));
        for (part, base) in parsed {
            let part = shifted_table(part.into_inner(), base);
            for wrong in merge(table.get_mut(), part) {
                if is_first {
                    self.reject_part(wrong);
                }
            }
        }
        for variable in self.variables() {
            let span = variable.value.clone();
            let section = table
                .get_mut()
                .entry(Spanned::new(span.clone(), variable.section.into()))
                .or_insert_with(|| Spanned::new(span.clone(), DeValue::Table(DeTable::new())));
            // A section that is not a table is rejected when it is read.
            if let DeValue::Table(section) = section.get_mut() {
                let key = (variable.section, variable.key);
                let value = environment::value(key, self.slice(span.clone()), &span);
                section.insert(Spanned::new(span, variable.key.into()), value);
            }
        }
        Ok(table)
    }

    /// Reads each table separately, so that a mistake in one does not hide those in others.
    fn read_in_parts(&self) -> Checked<Raw> {
        let mut kept = DeTable::new();
        let table = self.parse(false)?;
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
                        // Keep its index, so that the indexes of later items stay correct.
                        self.sound(&part, item).unwrap_or_else(|| {
                            self.leave_out(format!("{name}[{at}]"));
                            empty(span)
                        })
                    });
                    Some(DeValue::Array(items.collect()))
                }
                (DeValue::Table(entries), name @ ("upstream" | "realm" | "group")) => {
                    let entries = entries.into_iter().map(|(entry, item)| {
                        let span = item.span();
                        let part = Part {
                            key: &key,
                            within: Within::Entry(&entry),
                        };
                        // Other tables may refer to it.
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

    /// Returns a part of the file without its mistakes, which are recorded. `None` if the part as a
    /// whole is a mistake.
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

    /// Records a mistake that serde has found, in our words. `item` is the index in its array of a
    /// part that is read separately.
    fn mistyped(&self, error: &Mistyped, item: Option<usize>) -> super::source::Rejected {
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
                let principal;
                let expected = match expected.unwrap_or(message) {
                    "a sequence" if key == "route" => "an array; write [[route]]",
                    "a sequence" if key == "certificate" => "an array; write [[certificate]]",
                    "a sequence" if key == "include" => "an array of files; or write [[include]]",
                    "a map" if key == "upstream" => "a table; write [upstream.NAME]",
                    "a map" if key == "realm" => "a table; write [realm.NAME]",
                    "a map" if key == "group" => "a table; write [group.NAME]",
                    "a string" if or_off.is_some() => or_off.as_deref().unwrap_or_default(),
                    "i64" => "a whole number",
                    "a boolean" => "true or false",
                    "a sequence" if key.ends_with(".peers") => {
                        r#"an array of addresses, such as ["127.0.0.1:9000"]"#
                    }
                    "a sequence" if NETWORKS.iter().any(|it| key.ends_with(it)) => {
                        r#"an array of addresses and networks, such as ["10.0.0.2", "10.0.1.0/24"]"#
                    }
                    "a sequence" => "an array",
                    "a map" => "a table",
                    "a table" => {
                        principal = as_rule(&key, self.slice(span.clone()));
                        principal.as_deref().unwrap_or("a table")
                    }
                    other => other,
                };
                // A misplaced value may be a password, or the secret in a header.
                let shown = if key.contains("_headers") || key.ends_with(".url") {
                    "…".to_owned()
                } else {
                    self.shown(span.clone())
                };
                self.reject_as(&key, shown, span, expected)
            }
        }
    }
}

/// Returns how a text in a list of principals is written: `billing@payments` is a name in a realm.
fn as_rule(key: &str, typed: &str) -> Option<String> {
    let lists = [".allow[", ".except[", ".members["];
    let is_listed = lists.iter().any(|it| key.contains(it)) && key.ends_with(']');
    let text = ['"', '\'']
        .into_iter()
        .find_map(|quote| typed.strip_prefix(quote)?.strip_suffix(quote))?;
    if !is_listed || text.contains(['"', '\\', '\'']) {
        return None;
    }
    Some(match text.rsplit_once('@') {
        Some((name, realm)) => format!("{{ realm = \"{realm}\", name = \"{name}\" }}"),
        None if ["anyone", "authenticated"].contains(&text) => {
            format!("a table; for {text} write \"{text}\" without brackets")
        }
        None => format!("{{ realm = \"{text}\" }}, or {{ group = \"{text}\" }} for a group"),
    })
}

/// A part of the file that is read separately.
struct Part<'a, 's> {
    key: &'a Spanned<std::borrow::Cow<'s, str>>,
    within: Within<'a, 's>,
}

enum Within<'a, 's> {
    /// The part is the whole value of its key.
    Nothing,
    /// The part is an item of an array.
    Item(usize),
    /// The part is an entry of a table.
    Entry(&'a Spanned<std::borrow::Cow<'s, str>>),
}

impl<'s> Part<'_, 's> {
    /// Returns a file that contains only this part.
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

    /// Returns the number of path segments that lead to the part.
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

/// Removes the key at the end of a path; `None` if the path leads nowhere.
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

/// Returns whether a path segment was typed. Serde adds others for fields with spans.
fn is_typed(segment: &Segment) -> bool {
    match segment {
        Segment::Map { key } => !key.starts_with("$__serde_spanned"),
        Segment::Unknown => false,
        Segment::Seq { .. } | Segment::Enum { .. } => true,
    }
}

/// Formats a path as in `route[2].path`. `item`, if given, replaces the first index.
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
