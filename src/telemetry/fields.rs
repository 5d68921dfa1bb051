//! Writes the message and the fields of a line for people. Values with spaces are in quotes.

use std::fmt::{self, Debug, Write};

use anstyle::Style;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

const NAME: Style = Style::new().italic();
const SIGN: Style = Style::new().dimmed();

/// Returns the format of fields.
pub(super) fn quoted() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    debug_fn(write_field).delimited(" ")
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write_message(writer, value),
        name => {
            // A field named as a keyword of Rust.
            let name = name.trim_start_matches("r#");
            match writer.has_ansi_escapes() {
                true => write!(writer, "{NAME}{name}{NAME:#}{SIGN}={SIGN:#}")?,
                false => write!(writer, "{name}=")?,
            }
            write_value(writer, value)
        }
    }
}

/// Writes a message. Control characters could reach a terminal.
fn write_message(writer: &mut Writer<'_>, value: &dyn Debug) -> fmt::Result {
    match Look::at(value)?.has_control {
        true => {
            let text = format!("{value:?}");
            write!(writer, "{}", text.escape_debug())
        }
        false => write!(writer, "{value:?}"),
    }
}

fn write_value(writer: &mut Writer<'_>, value: &dyn Debug) -> fmt::Result {
    match Look::at(value)?.is_whole() {
        true => write!(writer, "{value:?}"),
        false => {
            let text = format!("{value:?}");
            write!(writer, "{text:?}")
        }
    }
}

/// What a text contains.
#[derive(Default)]
struct Look {
    first: Option<char>,
    last: Option<char>,
    has_space: bool,
    has_control: bool,
}

impl Look {
    fn at(value: &dyn Debug) -> Result<Self, fmt::Error> {
        let mut look = Self::default();
        write!(look, "{value:?}")?;
        Ok(look)
    }

    /// Returns whether readers of the line see where the text ends: it has no space, or is in quotes.
    fn is_whole(&self) -> bool {
        let is_quoted = self.first == Some('"') && self.last == Some('"');
        !self.has_control && (is_quoted || (!self.has_space && self.first.is_some()))
    }
}

impl Write for Look {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.first = self.first.or_else(|| text.chars().next());
        self.last = text.chars().next_back().or(self.last);
        self.has_space |= text.contains(' ');
        self.has_control |= text.contains(char::is_control);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::fmt::layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn values_with_spaces_are_in_quotes_and_none_has_control_characters() {
        let lines = Lines::default();
        let to = lines.clone();
        let layer = layer()
            .fmt_fields(quoted())
            .with_ansi(false)
            .without_time()
            .with_writer(move || to.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let (spaced, word, escape) = ("the path is ambiguous", "127.0.0.1:80", "a\u{1b}[31m");
            // Not a line of the program, which the documentation would list.
            tracing::event!(
                tracing::Level::INFO,
                detail = %spaced, text = spaced, peer = %word, many = 3, escape = %escape, empty = %"", "a line"
            );
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        let expected = "a line detail=\"the path is ambiguous\" text=\"the path is ambiguous\" peer=127.0.0.1:80 \
                        many=3 escape=\"a\\u{1b}[31m\" empty=\"\"\n";
        assert!(text.ends_with(expected), "{text}");
    }
}
