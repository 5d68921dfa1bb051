//! Failovers. Each one starts a new timeline on the server.
//!
//! A failover can lose confirmed commits, unless replication is synchronous. For one-time use that
//! would allow a second use. So after a change of the timeline, tokens that could have been used
//! before it are rejected.

use parking_lot::Mutex;

use super::pool::Pools;

/// Returns the timeline: the first 8 hexadecimal digits of the name of a WAL file. Fails on a
/// standby.
pub(super) const TIMELINE: &str = "left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// The last timeline that this process has seen.
#[derive(Default)]
pub(super) struct Timelines(Mutex<Option<Box<str>>>);

impl Timelines {
    /// Records the timeline in a response. A change is logged and counted once.
    pub(super) fn see(&self, timeline: &str, pools: &Pools) {
        let mut last = self.0.lock();
        match last.as_deref() {
            Some(last) if last == timeline => return,
            Some(last) => {
                pools.count_failover();
                tracing::warn!(
                    timeline,
                    last,
                    "the database has failed over; one-time tokens of the time before are refused"
                );
            }
            None => {}
        }
        *last = Some(timeline.into());
    }
}
