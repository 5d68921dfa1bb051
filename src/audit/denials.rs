//! Limits the lines that clients cause: repeats are counted, and the rest has a limit per second.

use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

use super::entry::Entry;
use super::event::{Event, Kind};
use super::repeats::{Repeats, Which};
use crate::budget::Budget;
use crate::config;

/// The length of a line without its content, in bytes.
const AROUND: usize = 256;

/// The importance of an event that clients cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// A denial.
    Common,
    /// An attack, or a count of denials. A fourth of the limit is reserved for these.
    Attack,
}

/// The limits of the lines that clients cause.
pub(super) struct Denials {
    repeats: Mutex<Repeats>,
    budget: Budget,
    per_second: u32,
}

impl Denials {
    pub(super) fn new(options: &config::Audit) -> Self {
        Self {
            repeats: Mutex::new(Repeats::new(options.repeats_every)),
            budget: Budget::default(),
            per_second: options.denials_per_second,
        }
    }

    /// Passes the entry of an event to `leave`, or counts it as a repeat. Returns whether it was dropped because
    /// there are too many. `leave` returns whether it accepted the entry.
    pub(super) fn add(
        &self,
        event: &Event<'_>,
        rank: Rank,
        leave: impl FnOnce(Entry) -> bool,
    ) -> bool {
        let lines = self.lines(rank);
        if lines == 0 {
            return false;
        }
        let now = SystemTime::now();
        let mut repeats = self.repeats.lock();
        let tag = repeats.tag(event);
        if tag.is_some_and(|tag| repeats.count(tag, now)) {
            return false;
        }
        // Checked before formatting, which is most of the work.
        if self.budget.has_room(lines) {
            let entry = Entry::of(event, now);
            if self.budget.take(lines, entry.body.len() + AROUND) {
                if leave(entry)
                    && let Some(tag) = tag
                {
                    repeats.begin(tag, event, Instant::now());
                }
                return false;
            }
        }
        true
    }

    /// Passes the counts whose interval has ended to `leave`, as far as there is room, each with its number of
    /// denials.
    pub(super) fn take_due(&self, leave: impl FnMut(Entry, u64)) {
        self.take(Which::Due, false, leave);
    }

    /// Passes the counts to `leave` that belong before an event other than a denial: those of its identity, or
    /// all. The last event of a process ignores the limit.
    pub(super) fn take_before(&self, event: &Event<'_>, mut leave: impl FnMut(Entry, u64)) {
        let is_last = event.kind == Kind::ServeEnded;
        let Some(subject) = event.subject else {
            return self.take(Which::All, is_last, leave);
        };
        self.take(Which::Of(subject), is_last, &mut leave);
        if let Some(was) = event.was {
            self.take(Which::Of(was), is_last, leave);
        }
    }

    /// Returns the end of the next interval.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.repeats.lock().next_due()
    }

    fn take(&self, which: Which<'_>, is_last: bool, mut leave: impl FnMut(Entry, u64)) {
        let (lines, now) = (self.lines(Rank::Attack), SystemTime::now());
        let mut repeats = self.repeats.lock();
        repeats.take(which, Instant::now(), |event, count| {
            let entry = Entry::of(event, now);
            let has_room = is_last || self.budget.take(lines, entry.body.len() + AROUND);
            if has_room {
                leave(entry, count);
            }
            has_room
        });
    }

    fn lines(&self, rank: Rank) -> u32 {
        match rank {
            Rank::Common => self.per_second - self.per_second / 4,
            Rank::Attack => self.per_second,
        }
    }
}
