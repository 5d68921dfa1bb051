//! JSON in the format of ungleich-otp.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

/// The maximum indentation.
pub(super) const WIDEST: usize = 8;

/// The format of a response: JSON with an indentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// Spaces per level, at most [`WIDEST`]; 0 for a single line.
    pub(super) indent: usize,
}

/// Escapes U+2028 and U+2029 for JavaScript, as ungleich-otp does.
pub(super) fn escaped(json: String) -> String {
    if !json.contains(['\u{2028}', '\u{2029}']) {
        return json;
    }
    json.replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Formats JSON over several lines, with `indent` spaces per level.
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

/// Formats a JSON string.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
