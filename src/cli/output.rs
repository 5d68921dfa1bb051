use std::error::Error;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use zeroize::Zeroizing;

pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const DIM: Style = AnsiColor::BrightBlack.on_default();
pub(super) const STRONG: Style = Style::new().bold();

/// The output format: text, colored on a terminal, or JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints `value` as JSON, or `text` for people.
    pub(super) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) {
        // The text may contain a seed, so it is zeroed.
        let text = Zeroizing::new(if self.json {
            serde_json::to_string(value).unwrap_or_default()
        } else {
            text()
        });
        line(&text);
    }

    /// Prints a warning on standard error.
    pub(super) fn warn(self, warning: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = if self.json {
            writeln!(stderr, "{}", serde_json::json!({ "warning": warning }))
        } else {
            writeln!(stderr, "{STRONG}warning:{STRONG:#} {warning}")
        };
    }

    /// Prints an error and its causes on standard error.
    pub(super) fn error(self, error: &dyn Error) {
        let message = describe(error);
        let mut stderr = anstream::stderr().lock();
        if self.json {
            let lines: Vec<_> = message.lines().collect();
            let value = match lines.len() {
                1 => serde_json::json!({ "error": message }),
                _ => serde_json::json!({ "error": message, "errors": lines }),
            };
            let _ = writeln!(stderr, "{value}");
            return;
        }
        // A configuration error has one line per mistake.
        for line in message.lines() {
            let _ = writeln!(stderr, "{BAD}error:{BAD:#} {line}");
        }
    }
}

/// The interval between updates of the progress line.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// A progress line on a terminal. Prints nothing if standard error is not a terminal or the output
/// is JSON.
pub(super) struct Progress {
    is_on: bool,
    shown: Option<Instant>,
    /// The number of characters of the last text.
    width: usize,
}

impl Progress {
    pub(super) fn new(output: Output) -> Self {
        Self {
            is_on: !output.is_json() && std::io::stderr().is_terminal(),
            shown: None,
            width: 0,
        }
    }

    /// Shows a text, unless the last update was less than [`SHOW_EVERY`] ago.
    pub(super) fn show(&mut self, text: impl FnOnce() -> String) {
        let is_due = |shown: Instant| shown.elapsed() >= SHOW_EVERY;
        if self.is_on && self.shown.is_none_or(is_due) {
            self.show_now(text);
        }
    }

    pub(super) fn show_now(&mut self, text: impl FnOnce() -> String) {
        if self.is_on {
            self.print(&text());
        }
    }

    /// Clears the line.
    pub(super) fn end(&mut self) {
        if self.shown.is_some() {
            self.print("");
            self.shown = None;
            let _ = write!(std::io::stderr().lock(), "\r");
        }
    }

    fn print(&mut self, text: &str) {
        let width = self.width;
        // Overwrite the rest of the last text with spaces, which needs no escape code.
        let _ = write!(std::io::stderr().lock(), "\r{text:<width$}");
        self.width = text.chars().count();
        self.shown = Some(Instant::now());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// Joins an error and its causes. Several mistakes are on separate lines.
pub(super) fn describe(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // The source of a transparent error has the same text.
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

/// Prints a line on standard output. Ignores a closed pipe.
pub(super) fn line(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Prints a line on standard error.
pub(super) fn message(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
