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

/// How a command speaks: to people, coloured on a terminal, or in JSON.
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
        // It may hold a seed.
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

    /// Prints an error with its causes on standard error.
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
        // Each mistake in a configuration is a line.
        for line in message.lines() {
            let _ = writeln!(stderr, "{BAD}error:{BAD:#} {line}");
        }
    }
}

/// How often a terminal is told how far a command is.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// A line on a terminal that says how far a command is. Nothing is printed elsewhere, nor beside JSON.
pub(super) struct Progress {
    is_on: bool,
    shown: Option<Instant>,
    /// How many characters the last line had.
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

    /// Shows a text, unless another has been shown just now.
    pub(super) fn show(&mut self, text: impl FnOnce() -> String) {
        let is_due = |shown: Instant| shown.elapsed() >= SHOW_EVERY;
        if self.is_on && self.shown.is_none_or(is_due) {
            self.show_now(text);
        }
    }

    /// Shows a text.
    pub(super) fn show_now(&mut self, text: impl FnOnce() -> String) {
        if self.is_on {
            self.print(&text());
        }
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if self.shown.is_some() {
            self.print("");
            self.shown = None;
            let _ = write!(std::io::stderr().lock(), "\r");
        }
    }

    fn print(&mut self, text: &str) {
        let width = self.width;
        // Spaces cover what is left of the last one, without an escape code.
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

/// Puts an error and its causes together. Where something has several mistakes, each is a line.
pub(super) fn describe(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // A transparent error repeats its source.
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

/// Prints a line on standard output. A reader that has gone away is no reason to fail.
pub(super) fn line(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Prints a line on standard error.
pub(super) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
