//! The number of decisions in each minute of the last hour.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::telemetry::Recorder;

/// The number of minutes that are kept.
pub(super) const MINUTES: usize = 60;

const MINUTE: Duration = Duration::from_secs(60);

/// The decisions of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Minute {
    pub(super) permitted: u64,
    pub(super) denied: u64,
}

/// The decisions of this process, minute by minute.
#[derive(Default)]
pub(super) struct History(Mutex<State>);

#[derive(Default)]
struct State {
    /// The counts at the end of the last minute.
    before: Minute,
    /// The oldest first.
    minutes: VecDeque<Minute>,
}

/// Adds a minute at the end of each, until the history is dropped.
pub(super) async fn follow(history: Weak<History>, recorder: Arc<Recorder>) {
    let mut every = interval_at(Instant::now() + MINUTE, MINUTE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(history) = history.upgrade() else {
            return;
        };
        history.add(now(&recorder));
    }
}

fn now(recorder: &Recorder) -> Minute {
    let (permitted, denied) = recorder.decisions();
    Minute { permitted, denied }
}

impl History {
    fn add(&self, counts: Minute) {
        let mut state = self.0.lock();
        let minute = since(state.before, counts);
        state.before = counts;
        state.minutes.push_back(minute);
        if state.minutes.len() > MINUTES {
            state.minutes.pop_front();
        }
    }

    /// Returns the last minutes, the oldest first; the last one is not over.
    pub(super) fn minutes(&self, recorder: &Recorder) -> Vec<Minute> {
        let counts = now(recorder);
        let state = self.0.lock();
        let current = since(state.before, counts);
        state.minutes.iter().copied().chain([current]).collect()
    }
}

fn since(before: Minute, counts: Minute) -> Minute {
    Minute {
        permitted: counts.permitted.saturating_sub(before.permitted),
        denied: counts.denied.saturating_sub(before.denied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_differences_and_an_hour_of_them_is_kept() {
        let history = History::default();
        for n in 1..=MINUTES as u64 + 5 {
            history.add(Minute {
                permitted: n * 10,
                denied: n,
            });
        }
        let state = history.0.lock();
        assert_eq!(state.minutes.len(), MINUTES);
        let expected = Minute {
            permitted: 10,
            denied: 1,
        };
        assert!(state.minutes.iter().all(|it| *it == expected));
    }
}
