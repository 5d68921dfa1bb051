//! Merges the tables of included files into those of the main file.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::Source;

type Value<'s> = Spanned<DeValue<'s>>;

/// The tables that included files may have.
const KEYS: [&str; 3] = ["group", "route", "upstream"];

/// A mistake in the tables of an included file.
pub(super) enum Wrong {
    /// A key that only the main file may have.
    Key(String, Range<usize>),
    /// A value that is not the array or table that the key needs.
    Form(&'static str, Range<usize>),
    /// A name that an earlier file has, at the second position.
    Again(String, Range<usize>, Range<usize>),
}

/// Adds the routes and upstreams of an included file to a table. Returns what is wrong with it.
pub(super) fn merge<'s>(table: &mut DeTable<'s>, part: DeTable<'s>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (key, value) in part {
        let Some(known) = KEYS.into_iter().find(|it| it == key.get_ref()) else {
            wrong.push(Wrong::Key(key.get_ref().to_string(), key.span()));
            continue;
        };
        let span = value.span();
        let Some(before) = table.get_mut(known) else {
            table.insert(key, value);
            continue;
        };
        match (before.get_mut(), value.into_inner()) {
            (DeValue::Array(before), DeValue::Array(items)) if known == "route" => {
                items.into_iter().for_each(|item| before.push(item));
            }
            (DeValue::Table(before), DeValue::Table(entries)) if known != "route" => {
                for (name, value) in entries {
                    match before.get_key_value(&**name.get_ref()) {
                        Some((earlier, _)) => {
                            let name_text = format!("{known}.{}", name.get_ref());
                            wrong.push(Wrong::Again(name_text, name.span(), earlier.span()));
                        }
                        None => drop(before.insert(name, value)),
                    }
                }
            }
            // A wrong form in the main file is rejected when the table is read.
            (DeValue::Array(_) | DeValue::Table(_), _) => wrong.push(Wrong::Form(known, span)),
            _ => {}
        }
    }
    wrong
}

impl Source<'_> {
    /// Records a mistake in the tables of an included file.
    pub(super) fn reject_part(&self, wrong: Wrong) {
        match wrong {
            Wrong::Key(key, span) => {
                let known = format!("{} (the file is included)", KEYS.join(", "));
                self.unknown(key, &span, known);
            }
            Wrong::Form(key, span) => {
                let expected = match key {
                    "route" => "an array; write [[route]]",
                    "group" => "a table; write [group.NAME]",
                    _ => "a table; write [upstream.NAME]",
                };
                self.reject_as(key, self.shown(span.clone()), span, expected);
            }
            Wrong::Again(name, span, earlier) => {
                let expected = format!(
                    "a name that no other file has (it is at {})",
                    self.place(earlier.start)
                );
                self.reject_as(&name, self.shown(span.clone()), span, expected);
            }
        }
    }
}

/// Moves all spans of a table by the position of its file.
pub(super) fn shifted_table(table: DeTable<'_>, base: usize) -> DeTable<'_> {
    table
        .into_iter()
        .map(|(key, value)| {
            let span = moved(key.span(), base);
            (Spanned::new(span, key.into_inner()), shifted(value, base))
        })
        .collect()
}

fn shifted(value: Value<'_>, base: usize) -> Value<'_> {
    let span = moved(value.span(), base);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shifted_table(table, base)),
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| shifted(item, base)).collect())
        }
        plain => plain,
    };
    Spanned::new(span, value)
}

const fn moved(span: Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}
