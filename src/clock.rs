//! Bounds for times: 1970 to 9999. Other times cannot be formatted, and libraries that try panic.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999, counted from 1970.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// Returns `time`, or the nearest time that can be formatted.
pub(crate) fn within(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + since.min(LAST)
}

/// Returns the time `duration` from now, or the last time that can be formatted.
pub(crate) fn after(duration: Duration) -> SystemTime {
    let then = SystemTime::now().checked_add(duration);
    then.map_or(UNIX_EPOCH + LAST, within)
}

/// Returns whether a clock shows a time that can be formatted.
pub(crate) fn is_usable(time: SystemTime) -> bool {
    (UNIX_EPOCH..=UNIX_EPOCH + LAST).contains(&time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_cannot_be_formatted_become_the_nearest_one() {
        let (second, nothing) = (Duration::from_secs(1), Duration::ZERO);
        let last = UNIX_EPOCH + LAST;
        for (time, expected) in [
            (UNIX_EPOCH - second, UNIX_EPOCH),
            (UNIX_EPOCH - Duration::from_nanos(1), UNIX_EPOCH),
            (UNIX_EPOCH + nothing, UNIX_EPOCH),
            (last, last),
            (last + Duration::from_nanos(1), last),
            (last + 1_000_000 * LAST / 1000, last),
        ] {
            assert_eq!(within(time), expected, "{time:?}");
            assert_eq!(is_usable(time), time == expected);
            // These can be formatted.
            let text = humantime::format_rfc3339_micros(within(time)).to_string();
            assert!(text.ends_with('Z'), "{text}");
        }
    }
}
