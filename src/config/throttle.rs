//! Checks `[throttle]`, and the realms with one-time tokens.

use std::time::Duration;

use super::raw;
use super::source::Source;
use crate::auth::ThrottleSettings;

impl Source<'_> {
    pub(super) fn throttle(&self, raw: &raw::Throttle) -> ThrottleSettings {
        let before = self.count();
        let default = ThrottleSettings::default();
        let duration = |key: &str, raw: &raw::Opt<raw::Time>, default: Duration| {
            self.seconds(&format!("throttle.{key}"), raw.as_ref(), default)
        };
        let number = |key: &str, raw: &raw::Opt<i64>, default| {
            self.number(
                &format!("throttle.{key}"),
                raw.as_ref(),
                default,
                1..=1_000_000,
            )
        };
        let settings = ThrottleSettings {
            failures: number("failures", &raw.failures, default.failures),
            source_failures: number(
                "source_failures",
                &raw.source_failures,
                default.source_failures,
            ),
            delay: duration("delay", &raw.delay, default.delay),
            longest_delay: duration("longest_delay", &raw.longest_delay, default.longest_delay),
            forgive: duration("forgive", &raw.forgive, default.forgive),
            forget: duration("forget", &raw.forget, default.forget),
            trust: duration("trust", &raw.trust, default.trust),
            capacity: self.number(
                "throttle.capacity",
                raw.capacity.as_ref(),
                default.capacity,
                1024..=100_000_000,
            ),
        };
        // Do not compare valid values with the default in place of an invalid one.
        if self.count() > before {
            return settings;
        }
        let pairs = [
            (
                "throttle.longest_delay",
                &raw.longest_delay,
                settings.longest_delay,
            ),
            ("throttle.delay", &raw.delay, settings.delay),
        ];
        let [longest, delay] = pairs;
        let forget = ("throttle.forget", &raw.forget, settings.forget);
        let forgive = ("throttle.forgive", &raw.forgive, settings.forgive);
        let mut rejected = "";
        for (long, short) in [(longest, delay), (forget, longest), (forget, forgive)] {
            if long.2 < short.2
                && rejected != long.0
                && let Some(set) = long.1.as_ref().or(short.1.as_ref())
            {
                let shown = format!("\"{}\"", humantime::format_duration(long.2));
                let expected = format!(
                    "at least {} ({})",
                    short.0,
                    humantime::format_duration(short.2)
                );
                self.reject_as(long.0, shown, set.span(), expected);
                rejected = long.0;
            }
        }
        settings
    }
}
