//! Failovers. With each one the server begins another timeline.
//!
//! A failover can lose commits that were confirmed, unless replication is synchronous. For one-time use that would
//! mean a second use. So after a change of the timeline, tokens are refused that could have been used before it.

use parking_lot::Mutex;

use super::pool::Pools;

/// Returns the timeline: the first 8 hexadecimal digits of the name of a WAL file. It fails on a standby.
pub(super) const TIMELINE: &str = "left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// The timeline that this process has seen last.
#[derive(Default)]
pub(super) struct Timelines(Mutex<Option<Box<str>>>);

impl Timelines {
    /// Records the timeline of an answer. Another one than before is logged and counted once.
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
