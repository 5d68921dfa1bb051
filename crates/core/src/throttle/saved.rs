//! Saves failure counts, and shares them with other processes on the same store.

use super::debt::Debt;
use super::table::{Locked, Slot};
use super::{Scope, Throttle};
use crate::time::UnixTime;

/// The saved failures of one slot. They do not reveal the principal or source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleRecord {
    /// The scope in which they are counted.
    pub scope: Scope,
    /// A keyed hash of the principal, source or both.
    pub tag: [u8; 16],
    /// When all of them will have been forgiven.
    pub paid: UnixTime,
    /// The number of seconds by which this process has moved `paid` since it last saved or read the
    /// record, negative if backward. `None`: the saved record is replaced.
    pub added: Option<i64>,
    /// When the last failure was.
    pub failed: UnixTime,
    /// When a token was last right; the epoch for never.
    pub passed: UnixTime,
}

impl Throttle {
    /// Merges records saved by this or another process.
    pub(crate) fn merge(&self, records: &[ThrottleRecord]) {
        for record in records {
            let mut locked = self.slot_of(record);
            let worth = |slot: &Slot| slot.debt.paid.max(slot.passed);
            if let Some(slot) = locked.claim(worth) {
                if slot.is_reset {
                    continue;
                }
                let added = self.added(record.scope, slot.unsaved);
                // As the store adds them up: failures begin at the earliest when they are counted.
                let paid = match added > 0 {
                    true => record.paid.as_secs().max(slot.debt.failed),
                    false => record.paid.as_secs(),
                };
                let paid = paid.saturating_add_signed(added);
                slot.debt = Debt {
                    paid,
                    failed: slot.debt.failed.max(record.failed.as_secs()),
                };
                slot.passed = slot.passed.max(record.passed.as_secs());
            }
        }
    }

    /// Returns the records that have changed since the last call and are worth saving, at most
    /// `limit` per scope.
    pub(crate) fn changed(&self, limit: usize) -> Vec<ThrottleRecord> {
        let mut records = Vec::new();
        for scope in Scope::ALL {
            let end = records.len() + limit;
            let pace = self.pace(scope);
            self.table(scope).each(|slot| {
                // A source has so many free failures that few of its counts are worth saving.
                let is_worth_it = scope != Scope::Source
                    || slot.is_reset
                    || slot.debt.failures(pace, slot.debt.failed) >= pace.free / 2;
                if slot.is_dirty && is_worth_it && records.len() < end {
                    records.push(ThrottleRecord {
                        scope,
                        tag: slot.tag.to_be_bytes(),
                        paid: UnixTime::from_secs(slot.debt.paid),
                        added: (!slot.is_reset).then(|| self.added(scope, slot.unsaved)),
                        failed: UnixTime::from_secs(slot.debt.failed),
                        passed: UnixTime::from_secs(slot.passed),
                    });
                    slot.is_dirty = false;
                    slot.is_reset = false;
                    slot.unsaved = 0;
                }
            });
        }
        records
    }

    /// Marks records as unsaved again, after saving them has failed.
    pub(crate) fn unsaved(&self, records: &[ThrottleRecord]) {
        for record in records {
            if let Some(slot) = self.slot_of(record).find() {
                slot.is_dirty = true;
                match record.added {
                    None => slot.is_reset = true,
                    Some(added) => {
                        let forgive = i64::try_from(self.pace(record.scope).forgive);
                        let failures = added / forgive.unwrap_or(i64::MAX).max(1);
                        slot.unsaved += i32::try_from(failures).unwrap_or_default();
                    }
                }
            }
        }
    }

    fn slot_of(&self, record: &ThrottleRecord) -> Locked<'_> {
        self.table(record.scope)
            .lock(u128::from_be_bytes(record.tag))
    }

    /// Returns the time it takes to forgive a number of failures, in seconds.
    fn added(&self, scope: Scope, failures: i32) -> i64 {
        let forgive = i64::try_from(self.pace(scope).forgive).unwrap_or(i64::MAX);
        forgive.saturating_mul(failures.into())
    }
}
