//! Repeated denials. The first of a kind is written at once. Further ones are counted, and one line per interval
//! has their number.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::event::{Event, Kind};
use crate::auth::{Principal, PrincipalRef};
use crate::clock;

/// The maximum number of kinds of denials in memory.
const MOST: usize = 4096;
/// How long a line waits if there was no room.
const AGAIN: Duration = Duration::from_secs(1);

/// Recent denials by tag, a keyed hash of the fields that they share. Without the key, nobody can choose two that
/// collide.
pub(super) struct Repeats {
    interval: Duration,
    key: [u8; 16],
    all: HashMap<u128, Repeat>,
    /// The next time at which kinds without repeats may be removed to make room.
    swept: Option<Instant>,
}

/// The shared fields of a kind, and the number of its repeats.
struct Repeat {
    kind: Kind,
    door: Option<&'static str>,
    route: Option<Box<str>>,
    subject: Option<Principal>,
    source: Option<IpAddr>,
    reason: Option<Box<str>>,
    /// The repeats without a line yet.
    count: u64,
    first: SystemTime,
    last: SystemTime,
    /// The end of the interval.
    due: Instant,
}

/// Which counts are to be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// The counts whose interval has ended.
    Due,
    /// The counts of a principal.
    Of(PrincipalRef<'a>),
    /// All counts.
    All,
}

impl Repeats {
    /// Makes an empty collection.
    pub(super) fn new(interval: Duration) -> Self {
        let mut key = [0; 16];
        // Without random bytes, clients could choose names that collide. That is no reason to stop.
        let _ = getrandom::fill(&mut key);
        Self {
            interval,
            key,
            all: HashMap::new(),
            swept: None,
        }
    }

    /// Returns the tag of an event; `None` if it always gets a line of its own.
    pub(super) fn tag(&self, event: &Event<'_>) -> Option<u128> {
        let is_of_a_client = matches!(event.kind, Kind::Denied | Kind::Observed | Kind::Rejected);
        let is_plain = is_of_a_client && event.delay.is_none();
        if !is_plain {
            return None;
        }
        let mut hasher = SipHasher13::new_with_key(&self.key);
        let subject = event.subject.map(|it| (it.name(), it.realm()));
        let kind = event.kind.as_str();
        (kind, event.door, event.route, subject).hash(&mut hasher);
        (event.source, event.reason).hash(&mut hasher);
        Some(hasher.finish128().as_u128())
    }

    /// Counts a repeat. Returns whether the event is one.
    pub(super) fn count(&mut self, tag: u128, now: SystemTime) -> bool {
        let Some(repeat) = self.all.get_mut(&tag) else {
            return false;
        };
        if repeat.count == 0 {
            repeat.first = now;
        }
        repeat.count += 1;
        repeat.last = now;
        true
    }

    /// Adds an event that has a line. If there is no room, the next one gets a line, too.
    pub(super) fn begin(&mut self, tag: u128, event: &Event<'_>, now: Instant) {
        if self.all.len() >= MOST && self.swept.is_none_or(|swept| now >= swept + AGAIN) {
            self.swept = Some(now);
            self.all.retain(|_, repeat| repeat.count > 0);
        }
        if self.all.len() >= MOST {
            return;
        }
        let repeat = Repeat {
            kind: event.kind,
            door: event.door,
            route: event.route.map(Into::into),
            subject: event.subject.map(PrincipalRef::to_owned),
            source: event.source,
            reason: event.reason.map(Into::into),
            count: 0,
            first: SystemTime::UNIX_EPOCH,
            last: SystemTime::UNIX_EPOCH,
            due: now + self.interval,
        };
        self.all.insert(tag, repeat);
    }

    /// Returns the end of the next interval.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.all.values().map(|repeat| repeat.due).min()
    }

    /// Passes counts to `write` with the number of denials that each stands for. `write` returns whether there was
    /// room; if not, the count stays. Kinds that did not repeat within their interval are removed.
    pub(super) fn take(
        &mut self,
        which: Which<'_>,
        now: Instant,
        mut write: impl FnMut(&Event<'_>, u64) -> bool,
    ) {
        let interval = self.interval;
        self.all.retain(|_, repeat| {
            let is_due = now >= repeat.due;
            if repeat.count == 0 {
                return !is_due;
            }
            let is_meant = match which {
                Which::Due => is_due,
                Which::Of(who) => repeat.subject.as_ref().map(Principal::as_ref) == Some(who),
                Which::All => true,
            };
            if is_meant {
                if write(&repeat.event(), repeat.count) {
                    repeat.count = 0;
                    repeat.due = now + interval;
                } else {
                    repeat.due = now + AGAIN;
                }
            }
            true
        });
    }
}

impl Repeat {
    fn event(&self) -> Event<'_> {
        let time = |time| humantime::format_rfc3339_millis(clock::within(time)).to_string();
        Event {
            door: self.door,
            route: self.route.as_deref(),
            subject: self.subject.as_ref().map(Principal::as_ref),
            source: self.source,
            reason: self.reason.as_deref(),
            count: Some(self.count),
            first: Some(time(self.first)),
            last: Some(time(self.last)),
            ..Event::new(self.kind)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn denied(source: u8) -> Event<'static> {
        Event {
            door: Some("proxy"),
            source: Some(IpAddr::from([192, 0, 2, source])),
            reason: Some("wrong_token"),
            ..Event::new(Kind::Denied)
        }
    }

    /// Returns whether an event has a line of its own.
    fn has_line(repeats: &mut Repeats, event: &Event<'_>, now: Instant) -> bool {
        let Some(tag) = repeats.tag(event) else {
            return true;
        };
        let is_counted = repeats.count(tag, SystemTime::now());
        if !is_counted {
            repeats.begin(tag, event, now);
        }
        !is_counted
    }

    fn taken(repeats: &mut Repeats, which: Which<'_>, now: Instant) -> Vec<u64> {
        let mut counts = Vec::new();
        repeats.take(which, now, |event, count| {
            assert_eq!(event.count, Some(count));
            counts.push(count);
            true
        });
        counts.sort_unstable();
        counts
    }

    #[test]
    fn repeats_are_counted_until_their_interval_ends_and_then_forgotten() {
        let (mut repeats, began) = (Repeats::new(INTERVAL), Instant::now());
        assert!(has_line(&mut repeats, &denied(1), began));
        assert!(has_line(&mut repeats, &denied(2), began));
        assert!(!has_line(&mut repeats, &denied(1), began));
        assert!(!has_line(&mut repeats, &denied(1), began));
        let early = began + INTERVAL - Duration::from_millis(1);
        assert_eq!(taken(&mut repeats, Which::Due, early), [0; 0]);
        assert_eq!(repeats.next_due(), Some(began + INTERVAL));
        assert_eq!(taken(&mut repeats, Which::Due, began + INTERVAL), [2]);
        // It repeats again; the other one does not.
        assert_eq!(repeats.next_due(), Some(began + 2 * INTERVAL));
        assert!(!has_line(&mut repeats, &denied(1), early));
        assert!(has_line(&mut repeats, &denied(2), early));
        let late = began + 3 * INTERVAL;
        assert_eq!(taken(&mut repeats, Which::Due, late), [1]);
        assert_eq!(taken(&mut repeats, Which::Due, late + INTERVAL), [0; 0]);
        assert!(repeats.all.is_empty());
    }

    #[test]
    fn events_that_differ_have_lines_of_their_own() {
        let (mut repeats, now) = (Repeats::new(INTERVAL), Instant::now());
        let [one, other] = ["one", "other"].map(|name| Principal::new(name, "r", 128).unwrap());
        for event in [
            denied(1),
            denied(2),
            Event {
                door: Some("rest"),
                ..denied(1)
            },
            Event {
                route: Some("all"),
                ..denied(1)
            },
            Event {
                subject: Some(one.as_ref()),
                ..denied(1)
            },
            Event {
                subject: Some(other.as_ref()),
                ..denied(1)
            },
            Event {
                reason: Some("throttled"),
                ..denied(1)
            },
            Event {
                kind: Kind::Rejected,
                ..denied(1)
            },
        ] {
            assert!(has_line(&mut repeats, &event, now), "{event:?}");
            assert!(!has_line(&mut repeats, &event, now), "{event:?}");
        }
        assert_eq!(taken(&mut repeats, Which::Of(one.as_ref()), now), [1]);
        assert_eq!(taken(&mut repeats, Which::All, now), [1; 7]);
    }

    #[test]
    fn denial_that_begins_a_delay_always_has_a_line() {
        let (mut repeats, now) = (Repeats::new(INTERVAL), Instant::now());
        let event = Event {
            delay: Some(1),
            ..denied(1)
        };
        assert!([0; 3].iter().all(|_| has_line(&mut repeats, &event, now)));
    }

    #[test]
    fn count_without_room_stays() {
        let (mut repeats, now) = (Repeats::new(INTERVAL), Instant::now());
        assert!(has_line(&mut repeats, &denied(1), now));
        assert!(!has_line(&mut repeats, &denied(1), now));
        repeats.take(Which::Due, now + INTERVAL, |_, _| false);
        assert_eq!(repeats.next_due(), Some(now + INTERVAL + AGAIN));
        assert_eq!(taken(&mut repeats, Which::All, now), [1]);
    }

    #[test]
    fn table_is_bounded_and_counts_are_not_pushed_out() {
        let (mut repeats, now) = (Repeats::new(INTERVAL), Instant::now());
        let named = |number: usize| Principal::new(&number.to_string(), "r", 128).unwrap();
        let mut ask = |number: usize| {
            let who = named(number);
            let event = Event {
                subject: Some(who.as_ref()),
                ..denied(1)
            };
            has_line(&mut repeats, &event, now)
        };
        assert!(ask(0) && !ask(0));
        assert!((1..3 * MOST).all(&mut ask));
        assert!(!ask(0));
        assert!(repeats.all.len() <= MOST);
        assert_eq!(taken(&mut repeats, Which::All, now), [2]);
    }
}
