//! Text of others, shown so that different texts look different.

use std::fmt::{self, Write};

use askama::filters::{Escaper, Html, HtmlSafe};

/// A text in which characters that are not visible, or that reorder the text beside them, have
/// their numbers in their place.
pub(super) struct Seen<T>(T);

/// Shows a text in HTML.
pub(super) fn seen<T: AsRef<str>>(text: T) -> Seen<T> {
    Seen(text)
}

/// The same for places without elements, such as the title of the page.
pub(super) struct Plain<T>(T);

/// Shows a text where there are no elements.
pub(super) fn plain<T: AsRef<str>>(text: T) -> Plain<T> {
    Plain(text)
}

impl<T: AsRef<str>> fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.as_ref().chars() {
            match is_visible(char) {
                true => f.write_char(char)?,
                false => f.write_str(&number(char))?,
            }
        }
        Ok(())
    }
}

impl<T: AsRef<str>> fmt::Display for Seen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.as_ref().chars() {
            match is_visible(char) {
                true => Html.write_escaped_char(&mut *f, char)?,
                false => write!(f, "<span class=\"char\">{}</span>", number(char))?,
            }
        }
        Ok(())
    }
}

impl<T: AsRef<str>> HtmlSafe for Seen<T> {}

/// Returns a text for a field, in which only control characters have their numbers in their place: all
/// others can be edited.
pub(super) fn without_controls(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        match char.is_control() {
            true => shown.push_str(&number(char)),
            false => shown.push(char),
        }
    }
    shown
}

fn number(char: char) -> String {
    format!("U+{:04X}", u32::from(char))
}

/// Returns whether a character can be seen: not a control character, white space other than the
/// space, or one of `Default_Ignorable_Code_Point` and `Bidi_Control` (UAX #44).
fn is_visible(char: char) -> bool {
    let is_hidden = matches!(
        char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    );
    let is_space = char.is_whitespace() && char != ' ';
    !(is_hidden || is_space || char.is_control())
}

#[cfg(test)]
mod tests {
    use super::{plain, seen, without_controls};

    #[test]
    fn characters_that_cannot_be_seen_have_their_numbers() {
        let name = "a\u{202e}b <c>\u{200b}\u{a0}\u{e9}\u{1f600}";
        let expected = "a<span class=\"char\">U+202E</span>b &#60;c&#62;<span class=\"char\">U+200B</span>\
                        <span class=\"char\">U+00A0</span>\u{e9}\u{1f600}";
        assert_eq!(seen(name).to_string(), expected);
        assert_eq!(plain("a\u{202e}<b>").to_string(), "aU+202E<b>");
        assert_eq!(seen("svc 1@r").to_string(), "svc 1@r");
        assert_eq!(plain("a\u{7}\n\u{9b}").to_string(), "aU+0007U+000AU+009B");
        assert_eq!(
            without_controls("a\u{7}\u{9b}\u{202e}"),
            "aU+0007U+009B\u{202e}"
        );
    }
}
