//! Single values.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;

use super::error::ConfigError;
use super::raw::Time;
use super::source::Source;

/// The bounds of every duration.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Source<'_> {
    pub(super) fn number<T: TryFrom<i64>>(
        &self,
        key: &str,
        raw: Option<&Spanned<i64>>,
        default: T,
        range: RangeInclusive<i64>,
    ) -> Result<T, ConfigError> {
        let Some(raw) = raw else {
            return Ok(default);
        };
        Some(*raw.get_ref())
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                let expected = format!("{} to {}", range.start(), range.end());
                self.refuse(key, raw, expected)
            })
    }

    pub(super) fn duration(
        &self,
        key: &str,
        raw: Option<&Spanned<Time>>,
        default_millis: u64,
    ) -> Result<Duration, ConfigError> {
        let Some(raw) = raw else {
            return Ok(Duration::from_millis(default_millis));
        };
        humantime::parse_duration(&raw.get_ref().0)
            .ok()
            .filter(|duration| (SHORTEST..=LONGEST).contains(duration))
            .ok_or_else(|| {
                let expected = r#"a duration with a unit, "1ms" to "24h", such as "5s""#;
                self.refuse(key, raw, expected)
            })
    }

    /// Reads a duration of whole seconds.
    pub(super) fn seconds(
        &self,
        key: &str,
        raw: Option<&Spanned<Time>>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        let Some(raw) = raw else {
            return Ok(default);
        };
        humantime::parse_duration(&raw.get_ref().0)
            .ok()
            .filter(|duration| duration.subsec_nanos() == 0)
            .filter(|duration| (Duration::from_secs(1)..=LONGEST).contains(duration))
            .ok_or_else(|| {
                let expected = r#"a duration of whole seconds, "1s" to "24h""#;
                self.refuse(key, raw, expected)
            })
    }
}

/// Says what a name or a realm is.
pub(super) fn part(limit: usize) -> String {
    format!("1 to {limit} characters, no NUL, no white space at either end")
}

pub(super) fn flag(raw: Option<&Spanned<bool>>) -> bool {
    raw.is_some_and(|raw| *raw.get_ref())
}

/// The most characters of the name of a route or an upstream.
const NAME_CHARS: usize = 64;

/// Says whether a text can be the name of a route or an upstream.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS).contains(&name.chars().count())
        && name.trim() == name
        && !name.chars().any(char::is_control)
}

/// Says what such a name is.
pub(super) fn naming() -> String {
    format!("1 to {NAME_CHARS} characters, no control characters, no white space at either end")
}
