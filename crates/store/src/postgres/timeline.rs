//! Timelines. Each failover starts a new one on the server that becomes the primary.
//!
//! A former primary that returns without being rebuilt accepts writes on its old timeline. It lacks
//! the changes made since, so a process uses no server on a lower timeline than the highest one
//! that it has seen.
//!
//! A failover can lose confirmed commits, unless replication is synchronous. For one-time use that
//! would allow a second use. So after a change of the timeline, tokens that could have been used
//! before it are rejected.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fault::Fault;

/// Returns the timeline: the first 8 hexadecimal digits of the name of a WAL file. Fails on a
/// standby.
pub(super) const TIMELINE: &str = "left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// The minimum time between two log lines of one kind.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The number of a timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timeline(u32);

impl Timeline {
    /// Reads the result of [`TIMELINE`].
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let number = u32::from_str_radix(text, 16);
        let number = number.map_err(|_| Fault::text("the server has no valid timeline"))?;
        Ok(Self(number))
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0)
    }
}

/// A server that accepts writes.
#[derive(Clone, Copy)]
pub(super) struct Primary<'a> {
    pub(super) host: &'a str,
    pub(super) timeline: Timeline,
}

/// The highest timeline that this process has seen.
#[derive(Default)]
pub(super) struct Timelines {
    /// 0 at the start.
    highest: AtomicU32,
    failovers: AtomicU64,
    rejected: AtomicU64,
    /// The servers that accept writes and are not used.
    others: AtomicU64,
    logged_old: Mutex<Option<Instant>>,
    logged_two: Mutex<Option<Instant>>,
}

impl Timelines {
    /// Records the timeline of a server. A higher one is logged and counted once.
    ///
    /// # Errors
    /// The timeline is lower than one seen before: the server must not be used.
    pub(super) fn see(&self, server: Primary<'_>) -> Result<(), Fault> {
        let Primary { host, timeline } = server;
        let last = Timeline(self.highest.fetch_max(timeline.0, Ordering::SeqCst));
        if last > timeline {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            if is_due(&self.logged_old) {
                tracing::error!(
                    host,
                    %timeline,
                    newest = %last,
                    "a database server accepts writes on an old timeline and is not used: \
                     fence it, or rebuild it as a standby"
                );
            }
            let text = format!("{host} is on timeline {timeline}, which is older than {last}");
            return Err(Fault::Connection(text.into()));
        }
        if last.0 != 0 && last < timeline {
            self.failovers.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                %timeline,
                %last,
                "the database has failed over; one-time tokens of the time before are rejected"
            );
        }
        Ok(())
    }

    /// Logs that two servers accept writes.
    pub(super) fn report_two(&self, used: Primary<'_>, other: Primary<'_>) {
        if is_due(&self.logged_two) {
            tracing::error!(
                host = used.host,
                timeline = %used.timeline,
                other = other.host,
                other_timeline = %other.timeline,
                "two database servers accept writes, and only the first is used: \
                 fence the other, or rebuild it as a standby"
            );
        }
    }

    /// Records when each of the other servers that accept writes was started.
    pub(super) fn set_others<'a>(&self, started: impl Iterator<Item = &'a str>) {
        let servers: BTreeSet<_> = started.collect();
        let number = u64::try_from(servers.len()).unwrap_or(u64::MAX);
        self.others.store(number, Ordering::Relaxed);
    }

    /// Returns the number of other servers that accept writes.
    pub(super) fn others(&self) -> u64 {
        self.others.load(Ordering::Relaxed)
    }

    pub(super) fn highest(&self) -> Timeline {
        Timeline(self.highest.load(Ordering::SeqCst))
    }

    /// Returns whether a higher timeline was seen.
    pub(super) fn is_old(&self, timeline: Timeline) -> bool {
        timeline < self.highest()
    }

    /// Returns how often a server on an old timeline was rejected.
    pub(super) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Returns how often the timeline has changed.
    pub(super) fn failovers(&self) -> u64 {
        self.failovers.load(Ordering::Relaxed)
    }
}

/// Returns whether the last line of a kind is old enough for another one, which it then records.
fn is_due(logged: &Mutex<Option<Instant>>) -> bool {
    let mut logged = logged.lock();
    let is_due = logged.is_none_or(|at| at.elapsed() >= LOG_EVERY);
    if is_due {
        *logged = Some(Instant::now());
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_highest_timeline_seen_is_accepted() {
        let timelines = Timelines::default();
        let see = |text: &str| {
            let timeline = Timeline::parse(text).unwrap();
            timelines.see(Primary {
                host: "h",
                timeline,
            })
        };
        for (text, is_good, failovers) in [
            ("00000009", true, 0),
            ("00000009", true, 0),
            ("0000000A", true, 1),
            ("00000009", false, 1),
            ("0000000A", true, 1),
            ("00000010", true, 2),
            ("0000000A", false, 2),
        ] {
            assert_eq!(see(text).is_ok(), is_good, "{text}");
            assert_eq!(timelines.failovers(), failovers, "{text}");
        }
        assert_eq!(timelines.rejected(), 2);
        assert_eq!(timelines.highest().to_string(), "00000010");
        assert!(Timeline::parse("x").is_err());
    }
}
