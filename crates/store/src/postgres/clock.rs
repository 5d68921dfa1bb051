//! The difference between the clock of this node and that of the server.
//!
//! Times of failures are stored by the clock of the server, so that nodes can add them up whose own
//! clocks differ. Otherwise a node an hour behind would hold failures to be in the future, and one
//! an hour ahead would hold them to be forgiven.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The difference in seconds up to which both clocks count as equal.
const EQUAL: f64 = 2.0;

/// The longest response time from which the difference can be determined.
const LONGEST: Duration = Duration::from_secs(1);

/// The clock of the server minus that of this node, in seconds.
#[derive(Debug, Default)]
pub(super) struct ClockOffset(AtomicI64);

impl ClockOffset {
    /// The time of the server, in seconds since 1970.
    pub(super) const NOW: &str = "extract(epoch FROM clock_timestamp())::float8";

    /// Records the time of the server, in a response to a request made at `asked`, `took` ago.
    pub(super) fn observe(&self, server: f64, asked: SystemTime, took: Duration) {
        if took > LONGEST {
            return;
        }
        let ours = asked.duration_since(UNIX_EPOCH).unwrap_or_default() + took / 2;
        let found = server - ours.as_secs_f64();
        let before = self.get();
        // Small changes are of the response time.
        if (found - seconds(before)).abs() <= EQUAL {
            return;
        }
        let new = if found.abs() <= EQUAL {
            0
        } else {
            whole(found)
        };
        self.0.store(new, Ordering::Relaxed);
        if new != 0 {
            tracing::warn!(
                seconds = new,
                "the clock of the database differs from the one of this node"
            );
        }
    }

    /// Returns the difference in seconds; 0 if it is small.
    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Converts a time of this node to one of the server. 0 means never.
    pub(super) fn server_time(&self, time: i64) -> i64 {
        shifted(time, self.get())
    }

    /// Converts a time of the server to one of this node.
    pub(super) fn node_time(&self, time: i64) -> i64 {
        shifted(time, self.get().saturating_neg())
    }
}

fn shifted(time: i64, by: i64) -> i64 {
    match time {
        0 => 0,
        time => time.saturating_add(by).max(1),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a difference of times is small")]
fn seconds(whole: i64) -> f64 {
    whole as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from a float saturates"
)]
fn whole(seconds: f64) -> i64 {
    seconds.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_difference_counts_and_small_changes_do_not_move_it() {
        let clock = ClockOffset::default();
        let at = |ahead: f64| {
            let asked = UNIX_EPOCH + Duration::from_secs(1_000_000);
            clock.observe(1_000_000.0 + ahead, asked, Duration::ZERO);
            clock.get()
        };
        assert_eq!((at(1.9), at(-1.9)), (0, 0));
        assert_eq!((at(3600.4), at(3602.0), at(3598.5)), (3600, 3600, 3600));
        assert_eq!(clock.server_time(10_000), 13_600);
        assert_eq!(clock.node_time(13_600), 10_000);
        assert_eq!((clock.server_time(0), clock.node_time(0)), (0, 0));
        assert_eq!(clock.node_time(100), 1);
        assert_eq!((at(3603.0), at(0.5)), (3603, 0));
        clock.observe(5_000_000.0, UNIX_EPOCH, Duration::from_secs(2));
        assert_eq!(clock.get(), 0);
    }
}
