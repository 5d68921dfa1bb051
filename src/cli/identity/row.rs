//! Prints identities.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, UNIX_EPOCH};

use anstyle::{Ansi256Color, Color, Style};
use qrcode::QrCode;
use qrcode::render::unicode;
use serde::Serialize;

use crate::cli::output::Output;
use crate::clock;
use crate::doors::v1::Timestamp;
use crate::doors::v1::types::{self, Identity};

/// Black on white, from the part of the palette that no theme of a terminal changes: a QR code that is drawn in
/// the terminal's own colors is inverted where those are light on dark, and most apps cannot read it then.
const QR_COLORS: Style = Style::new()
    .fg_color(Some(Color::Ansi256(Ansi256Color(16))))
    .bg_color(Some(Color::Ansi256(Ansi256Color(231))));

/// What is printed of the failures of an identity.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    /// Nothing.
    Plain,
    /// Those that count.
    Throttle,
    /// Those that were cleared.
    Forgiven(types::Throttle),
}

/// Prints an identity, with its seed if it has one, which is shown only once.
pub(super) fn print(identity: &Identity, shown: Shown, output: Output) {
    let mut row = Row::new(identity);
    match shown {
        Shown::Plain => {}
        Shown::Throttle => row.throttle = Some(identity.throttle.into()),
        Shown::Forgiven(forgiven) => row.forgiven = Some(forgiven.into()),
    }
    output.print(&row, || row.text());
}

/// The failures that count against an identity. Delays are in seconds.
#[derive(Serialize)]
struct Throttle {
    /// Failures at sources that are not trusted.
    failures: u32,
    waits: u64,
    /// The number of sources that are trusted because the identity has authenticated there
    /// recently.
    trusted_sources: u64,
    /// Failures at trusted sources.
    trusted_failures: u32,
    /// The longest delay at a trusted source.
    trusted_waits: u64,
}

impl From<types::Throttle> for Throttle {
    fn from(throttle: types::Throttle) -> Self {
        Self {
            failures: throttle.failures,
            waits: throttle.waits,
            trusted_sources: throttle.trusted_sources,
            trusted_failures: throttle.trusted_failures,
            trusted_waits: throttle.trusted_waits,
        }
    }
}

impl Throttle {
    fn text(&self) -> String {
        let next = |waits| match waits {
            0 => String::new(),
            waits => format!(", next attempt in {}", span(waits)),
        };
        let mut text = format!("{}{}", self.failures, next(self.waits));
        if self.trusted_sources > 0 {
            let addresses = match self.trusted_sources {
                1 => "1 trusted address".to_owned(),
                many => format!("{many} trusted addresses"),
            };
            let (failures, next) = (self.trusted_failures, next(self.trusted_waits));
            let _ = write!(text, "; at {addresses}: {failures}{next}");
        }
        text
    }

    fn cleared(&self) -> String {
        let failures = u64::from(self.failures) + u64::from(self.trusted_failures);
        let word = if failures == 1 { "failure" } else { "failures" };
        match self.waits.max(self.trusted_waits) {
            0 => format!("cleared {failures} {word}"),
            waits => format!(
                "cleared {failures} {word} (it was throttled for another {})",
                span(waits)
            ),
        }
    }
}

fn span(secs: u64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(secs))
}

/// The printed fields of an identity. Times are in seconds since 1970.
#[derive(Serialize)]
struct Row<'a> {
    id: i64,
    name: &'a str,
    realm: &'a str,
    state: &'static str,
    algorithm: &'static str,
    digits: u8,
    period: u16,
    /// `good`, `weak` (fewer than 128 bits) or `broken` (cannot be decrypted).
    seed_strength: &'static str,
    created: u64,
    updated: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<u64>,
    /// The distance of the last token from the current step, in steps.
    drift: i64,
    /// The end of the overlap of the replaced seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_last_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle: Option<Throttle>,
    /// The failures that were just cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgiven: Option<Throttle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn new(identity: &'a Identity) -> Self {
        let secs = |time: &Timestamp| time.0.as_secs();
        let current = identity.seeds.first();
        let previous = identity.seeds.get(1);
        Self {
            id: identity.id,
            name: &identity.name,
            realm: &identity.realm,
            state: identity.state.as_str(),
            algorithm: identity.parameters.algorithm.as_str(),
            digits: identity.parameters.digits,
            period: identity.parameters.period,
            seed_strength: current.map_or("broken", |it| it.strength.as_str()),
            created: secs(&identity.created),
            updated: secs(&identity.updated),
            not_before: identity.not_before.as_ref().map(secs),
            expires: identity.expires.as_ref().map(secs),
            comment: identity.comment.as_deref(),
            last_used: current.and_then(|it| it.last_used.as_ref()).map(secs),
            drift: current.map_or(0, |it| it.drift),
            previous_until: previous.and_then(|it| it.until.as_ref()).map(secs),
            previous_last_used: previous.and_then(|it| it.last_used.as_ref()).map(secs),
            throttle: None,
            forgiven: None,
            seed: identity.seed.as_deref(),
            uri: identity.otpauth.as_deref(),
        }
    }

    /// Formats the row. Escapes control characters, so that a name cannot control the terminal.
    fn text(&self) -> String {
        let mut text = format!(
            "{:>6}  {}@{}  {}  {} {} digits {} s  seed {}",
            self.id,
            self.name.escape_debug(),
            self.realm.escape_debug(),
            self.state,
            self.algorithm,
            self.digits,
            self.period,
            self.seed_strength,
        );
        for (what, when) in [
            ("not before", self.not_before),
            ("expires", self.expires),
            ("last used", self.last_used),
            ("old seed valid until", self.previous_until),
            ("old seed last used", self.previous_last_used),
        ] {
            if let Some(when) = when {
                let when = UNIX_EPOCH.checked_add(Duration::from_secs(when));
                // Such a time is too far in the future to be formatted.
                let when = when.filter(|&when| clock::is_usable(when));
                let when = when.map(|when| humantime::format_rfc3339_seconds(when).to_string());
                let _ = write!(text, "  {what} {}", when.as_deref().unwrap_or("after 9999"));
            }
        }
        if self.drift != 0 {
            let _ = write!(text, "  clock offset {:+} steps", self.drift);
        }
        if let Some(comment) = self.comment {
            let _ = write!(text, "  {}", comment.escape_debug());
        }
        if let Some(throttle) = &self.throttle {
            let _ = write!(text, "\n        failures: {}", throttle.text());
        }
        if let Some(forgiven) = &self.forgiven {
            let _ = write!(text, "\n        {}", forgiven.cleared());
        }
        if let (Some(seed), Some(uri)) = (self.seed, self.uri) {
            let _ = write!(
                text,
                "\n        seed (shown only once): {seed}\n        {uri}"
            );
            if std::io::stdout().is_terminal()
                && let Ok(code) = QrCode::new(uri)
            {
                let code = code.render::<unicode::Dense1x2>().build();
                for line in code.lines() {
                    let _ = write!(text, "\n{QR_COLORS}{line}{QR_COLORS:#}");
                }
            }
        }
        text
    }
}
