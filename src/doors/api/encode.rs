//! JSON as the old server wrote it.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

/// The widest indentation that can be asked for.
pub(super) const WIDEST: usize = 8;

/// How the answer is written: JSON, and how far it is indented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// Spaces a level, at most [`WIDEST`]; 0 for one line.
    pub(super) indent: usize,
}

/// Escapes U+2028 and U+2029, as the old server does for JavaScript.
pub(super) fn escaped(json: String) -> String {
    if !json.contains(['\u{2028}', '\u{2029}']) {
        return json;
    }
    json.replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Writes JSON over several lines, each level `indent` spaces deeper.
pub(super) fn indented(json: String, indent: usize) -> String {
    let spaces = [b' '; 16];
    let spaces = spaces.get(..indent).unwrap_or(&spaces);
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut writer = Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(spaces));
    let written = serde_json::from_str::<serde_json::Value>(&json)
        .and_then(|value| value.serialize(&mut writer));
    match (written, String::from_utf8(out)) {
        (Ok(()), Ok(text)) => escaped(text),
        _ => json,
    }
}

/// Writes a JSON string.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
