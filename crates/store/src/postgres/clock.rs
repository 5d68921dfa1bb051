//! The clock of the server, by which failures are dated.
//!
//! Nodes can then add them up although their own clocks differ. Otherwise a node an hour behind would
//! hold failures to be in the future, and one an hour ahead would hold them to be forgiven. Between
//! two looks at the server, the time goes on by a clock that cannot be set: a jump of the clock of
//! this node neither forgives failures nor prolongs delays.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::record::unix_time;
use crate::steady::Steady;
use realmgate_core::UnixTime;

/// The difference in seconds up to which two clocks count as equal.
const EQUAL: f64 = 2.0;

/// The longest response time from which a difference can be determined.
const LONGEST: Duration = Duration::from_secs(1);

/// The clock of the server.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    steady: Steady,
    /// The clock of the server minus the steady one, and minus that of this node.
    of_steady: Difference,
    of_node: Difference,
}

/// When a response was requested.
pub(super) struct Asked {
    moment: Instant,
    by_node: Duration,
}

impl Asked {
    pub(super) fn now() -> Self {
        Self {
            moment: Instant::now(),
            by_node: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }
}

impl ServerClock {
    /// The time of the server, in seconds since 1970.
    pub(super) const NOW: &str = "extract(epoch FROM clock_timestamp())::float8";

    /// Records the time of the server in a response.
    pub(super) fn observe(&self, server: f64, asked: &Asked) {
        self.observe_after(server, asked, asked.moment.elapsed());
    }

    fn observe_after(&self, server: f64, asked: &Asked, took: Duration) {
        if took > LONGEST {
            return;
        }
        let middle = took / 2;
        let steady = self.steady.at(asked.moment) + middle;
        self.of_steady.observe(server - steady.as_secs_f64());
        let node = asked.by_node + middle;
        let found = self.of_node.observe(server - node.as_secs_f64());
        if let Some(seconds) = found.filter(|&it| it != 0) {
            tracing::warn!(
                seconds,
                "the clock of the database differs from the one of this node"
            );
        }
    }

    /// Returns the time of the server.
    pub(super) fn now(&self) -> UnixTime {
        let steady = i64::try_from(self.steady.now().as_secs()).unwrap_or(i64::MAX);
        unix_time(steady.saturating_add(self.of_steady.get()))
    }

    /// Returns the clock of the server minus that of this node, in seconds; 0 if they are about equal.
    pub(super) fn ahead_of_node(&self) -> i64 {
        self.of_node.get()
    }
}

/// The difference of two clocks in seconds; 0 if it is small.
#[derive(Debug, Default)]
struct Difference(AtomicI64);

impl Difference {
    /// Returns the new difference, if it is another one. Small changes are of the response time.
    fn observe(&self, found: f64) -> Option<i64> {
        if (found - seconds(self.get())).abs() <= EQUAL {
            return None;
        }
        let new = if found.abs() <= EQUAL {
            0
        } else {
            whole(found)
        };
        self.0.store(new, Ordering::Relaxed);
        Some(new)
    }

    fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
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

    fn look(clock: &ServerClock, node: f64, server: f64, took: Duration) {
        let asked = Asked {
            moment: Instant::now(),
            by_node: Duration::from_secs_f64(clock.steady.now().as_secs_f64() + node),
        };
        let server = clock.steady.now().as_secs_f64() + server;
        clock.observe_after(server, &asked, took);
    }

    #[test]
    fn only_a_large_difference_counts_and_small_changes_do_not_move_it() {
        let clock = ServerClock::default();
        let at = |ahead: f64| {
            look(&clock, 0.0, ahead, Duration::ZERO);
            clock.ahead_of_node()
        };
        assert_eq!((at(1.9), at(-1.9)), (0, 0));
        assert_eq!((at(3600.4), at(3601.9), at(3598.5)), (3600, 3600, 3600));
        assert_eq!((at(3603.0), at(0.5)), (3603, 0));
        look(&clock, 0.0, 5000.0, Duration::from_secs(2));
        assert_eq!(clock.ahead_of_node(), 0);
    }

    #[test]
    fn jump_of_the_node_is_noticed_and_does_not_move_the_time() {
        let clock = ServerClock::default();
        look(&clock, 0.0, 100.0, Duration::ZERO);
        let before = clock.now().as_secs();
        look(&clock, 7200.0, 100.0, Duration::ZERO);
        assert_eq!(clock.ahead_of_node(), -7100);
        assert!((before..before + 2).contains(&clock.now().as_secs()));
        look(&clock, 0.0, 200.0, Duration::ZERO);
        assert!((before + 100..before + 102).contains(&clock.now().as_secs()));
    }
}
