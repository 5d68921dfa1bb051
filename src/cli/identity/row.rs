//! Prints identities.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, UNIX_EPOCH};

use anstyle::{Ansi256Color, Color, Style};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use qrcode::QrCode;
use qrcode::render::unicode;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::auth::{Failures, Identity, Seed, State, Strength, UnixTime};
use crate::cli::output::Output;
use crate::clock;

/// Black on white, from the part of the palette that no theme of a terminal changes: a QR code that is drawn in
/// the terminal's own colors is inverted where those are light on dark, and most apps cannot read it then.
const QR_COLORS: Style = Style::new()
    .fg_color(Some(Color::Ansi256(Ansi256Color(16))))
    .bg_color(Some(Color::Ansi256(Ansi256Color(231))));

/// Prints an identity, without its seed.
pub(super) fn print(identity: &Identity, output: Output) {
    let row = Row::new(identity);
    output.print(&row, || row.text());
}

/// Prints an identity with its seed and an otpauth URI for authenticator apps with `issuer`. The
/// seed is shown only once.
pub(super) fn print_new(identity: &Identity, seed: &Seed, issuer: &str, output: Output) {
    let seed = seed.to_base32();
    let uri = Zeroizing::new(uri(identity, &seed, issuer));
    let mut row = Row::new(identity);
    row.seed = Some(&seed);
    row.uri = Some(&uri);
    output.print(&row, || row.text());
}

/// Prints an identity with the failures that count against it.
pub(super) fn print_with(identity: &Identity, failures: Failures, output: Output) {
    let mut row = Row::new(identity);
    row.throttle = Some(failures.into());
    output.print(&row, || row.text());
}

/// Prints an identity with the failures that were cleared.
pub(super) fn print_forgiven(identity: &Identity, failures: Failures, output: Output) {
    let mut row = Row::new(identity);
    row.forgiven = Some(failures.into());
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
    trusted_sources: usize,
    /// Failures at trusted sources.
    trusted_failures: u32,
    /// The longest delay at a trusted source.
    trusted_waits: u64,
}

impl From<Failures> for Throttle {
    fn from(failures: Failures) -> Self {
        Self {
            failures: failures.elsewhere,
            waits: failures.elsewhere_delay.as_secs(),
            trusted_sources: failures.trusted_sources,
            trusted_failures: failures.trusted,
            trusted_waits: failures.trusted_delay.as_secs(),
        }
    }
}

impl Throttle {
    fn text(&self) -> String {
        let elsewhere = match self.waits {
            0 => String::new(),
            waits => format!(" (throttled for {})", span(waits)),
        };
        let trusted = match self.trusted_waits {
            0 => String::new(),
            waits => format!(", throttled for {}", span(waits)),
        };
        format!(
            "{} at trusted sources ({} known{trusted}), {} elsewhere{elsewhere}",
            self.trusted_failures, self.trusted_sources, self.failures,
        )
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
        Self {
            id: identity.id.0,
            name: identity.principal.name(),
            realm: identity.principal.realm(),
            state: match identity.state {
                State::Enabled => "enabled",
                State::Disabled => "disabled",
            },
            algorithm: identity.parameters.algorithm().as_str(),
            digits: identity.parameters.digits(),
            period: identity.parameters.period(),
            seed_strength: match identity.seed().map(|seed| seed.strength()) {
                Some(Strength::Good) => "good",
                Some(Strength::Weak) => "weak",
                None => "broken",
            },
            created: identity.created.as_secs(),
            updated: identity.updated.as_secs(),
            not_before: identity.terms().not_before.map(UnixTime::as_secs),
            expires: identity.terms().expires.map(UnixTime::as_secs),
            comment: identity.terms().comment.as_deref(),
            last_used: identity.usage.used().map(UnixTime::as_secs),
            drift: identity.usage.drift(),
            previous_until: identity.previous_until().map(UnixTime::as_secs),
            previous_last_used: identity.usage.previous_used().map(UnixTime::as_secs),
            throttle: None,
            forgiven: None,
            seed: None,
            uri: None,
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

/// Returns the URI that authenticator apps read, as text or as a QR code.
fn uri(identity: &Identity, seed: &str, issuer: &str) -> String {
    let who = &identity.principal;
    let label = format!("{}@{}", who.name(), who.realm());
    let label = utf8_percent_encode(&label, NON_ALPHANUMERIC);
    let issuer = utf8_percent_encode(issuer, NON_ALPHANUMERIC);
    let parameters = identity.parameters;
    format!(
        "otpauth://totp/{issuer}:{label}?secret={seed}&issuer={issuer}&algorithm={}&digits={}&period={}",
        parameters.algorithm(),
        parameters.digits(),
        parameters.period(),
    )
}
