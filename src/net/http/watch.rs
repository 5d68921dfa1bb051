//! The deadlines of an HTTP/1 connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};

use super::allowance::Allowance;
use super::shared::{Shared, State};
use crate::config::Timeouts;

/// How long an idle connection stays with hyper.
pub(super) const PARK: Duration = Duration::from_millis(100);

/// How serving by hyper ends.
#[derive(Debug)]
pub(super) enum End {
    /// The connection must close.
    Closed,
    /// The connection or a response failed.
    Broken,
    /// hyper could not parse a header, and has responded.
    Unparsed,
    /// The connection is idle.
    Idle,
    /// The received header is rejected.
    Rejected,
}

/// The event that the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Answering,
    /// The client must take part of the response; with the number of writes so far.
    Writing(u64),
    /// The rest of a body that is being discarded.
    Draining,
    /// The rest of a header.
    Beginning,
    /// The next request; with the number of writes so far.
    Waiting(u64),
}

/// The deadlines of a connection, with one timer for all.
///
/// The timer is not reset for each request: when it fires, it is set to the deadline that is then
/// current.
pub(super) struct Watch<'a> {
    shared: &'a Shared,
    timeouts: Timeouts,
    drain_bytes: usize,
    /// The deadline of the first header.
    deadline: Option<Instant>,
    /// When the timer fires; `None` if it is not set.
    armed: Option<Instant>,
    doing: Doing,
    since: Instant,
    /// Set while a body is being discarded.
    discarding: Option<Discarding>,
}

/// A body that is being discarded.
struct Discarding {
    since: Instant,
    /// [`State::body_bytes`] at that time.
    before: u64,
    allowance: Allowance,
}

impl<'a> Watch<'a> {
    /// Makes the deadlines of a new connection.
    pub(super) fn new(
        shared: &'a Shared,
        (timeouts, drain_bytes): (Timeouts, usize),
        deadline: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            shared,
            timeouts,
            drain_bytes,
            deadline,
            armed: None,
            doing: Doing::Answering,
            since: now,
            discarding: None,
        }
    }

    /// Determines the event that the connection waits for when hyper cannot proceed. Returns
    /// how the connection ends, or `None` if hyper can proceed.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut sleep: Pin<&mut Sleep>,
    ) -> Poll<Option<End>> {
        let doing = match self.poll_doing(context) {
            Ok(doing) => doing,
            Err(end) => return Poll::Ready(end),
        };
        if self.is_soon_enough(doing, &sleep) {
            return Poll::Pending;
        }
        let mut now = Instant::now();
        if doing != self.doing {
            (self.doing, self.since) = (doing, now);
        }
        let due = match doing {
            Doing::Answering => None,
            Doing::Writing(_) => Some(self.since + self.timeouts.write),
            Doing::Draining => {
                let since = self.discarding.as_ref().map_or(self.since, |it| it.since);
                Some(since + self.timeouts.drain)
            }
            Doing::Beginning => match self.deadline {
                Some(deadline) => Some(deadline),
                None => Some(self.since + self.timeouts.header),
            },
            Doing::Waiting(_) => Some(self.since + PARK),
        };
        loop {
            if let Some(due) = due {
                if due <= now {
                    return Poll::Ready(Some(end_of(doing)));
                }
                if self.armed.is_none_or(|armed| due < armed) {
                    sleep.as_mut().reset(due);
                    self.armed = Some(due);
                    // Registers the waker with the timer, also where the task has used up its budget, after a
                    // large body for instance. The timer would otherwise be pending without a waker.
                    let mut sleep = unconstrained(sleep.as_mut());
                    if Pin::new(&mut sleep).poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
            match self.armed {
                Some(armed) if armed <= now => {
                    self.armed = None;
                    if due.is_none() {
                        return Poll::Pending;
                    }
                }
                _ => return Poll::Pending,
            }
            now = Instant::now();
        }
    }

    /// Returns whether the timer fires early enough for the wait for the next request, which has
    /// just begun. That is the case after each request but the first, and the clock is not read
    /// then: the wait counts from the beginning of the request, so it may end a bit early.
    fn is_soon_enough(&mut self, doing: Doing, sleep: &Sleep) -> bool {
        let (Doing::Waiting(_), Some(armed)) = (doing, self.armed) else {
            return false;
        };
        let Some(began) = self.shared.lock().began.take() else {
            return false;
        };
        let since = Instant::from_std(began);
        let is_soon_enough = doing != self.doing && armed <= since + PARK && !sleep.is_elapsed();
        if is_soon_enough {
            (self.doing, self.since) = (doing, since);
        }
        is_soon_enough
    }

    fn poll_doing(&mut self, context: &mut Context<'_>) -> Result<Doing, Option<End>> {
        let mut state = self.shared.lock();
        state.wakes(context.waker());
        if state.take_held() {
            return Err(None);
        }
        let is_idle = state.is_idle();
        if state.rejected.is_some() && is_idle {
            return Err(Some(End::Rejected));
        }
        self.discard(&mut state, context)?;
        if state.writes > 0 {
            self.deadline = None;
        }
        Ok(if state.is_blocked {
            Doing::Writing(state.writes)
        } else if state.leftover.is_some() {
            Doing::Draining
        } else if !is_idle {
            Doing::Answering
        } else if state.has_begun {
            Doing::Beginning
        } else {
            Doing::Waiting(state.writes)
        })
    }

    /// Discards part of a body. Checks the deadline itself: the timer is set only when no further
    /// part has arrived, and a client can send without a pause.
    ///
    /// # Errors
    /// How the connection ends, or `None` if hyper can proceed.
    fn discard(&mut self, state: &mut State, context: &mut Context<'_>) -> Result<(), Option<End>> {
        let Some(body) = &mut state.leftover else {
            self.discarding = None;
            return Ok(());
        };
        let now = Instant::now();
        let discarding = self.discarding.get_or_insert_with(|| Discarding {
            since: now,
            before: state.body_bytes,
            allowance: Allowance::new(self.drain_bytes),
        });
        if state.is_blocked {
            // The deadline is that of the response.
            discarding.since = now;
        } else if now.duration_since(discarding.since) >= self.timeouts.drain {
            return Err(Some(end_of(Doing::Draining)));
        }
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
            return Ok(());
        };
        let received = state.body_bytes.wrapping_sub(discarding.before);
        let may_go_on = received <= self.drain_bytes as u64
            && frame.and_then(Result::ok).is_some_and(|part| {
                let length = part.data_ref().map_or(0, Bytes::len);
                discarding.allowance.take(length)
            });
        if !may_go_on {
            // It has ended, or hyper closes the connection with the response.
            state.leftover = None;
        }
        Err(None)
    }
}

/// Returns the end of a connection that has waited too long.
fn end_of(doing: Doing) -> End {
    match doing {
        Doing::Waiting(_) => End::Idle,
        Doing::Beginning => {
            tracing::debug!("the request header came too slowly");
            End::Closed
        }
        Doing::Answering | Doing::Writing(_) | Doing::Draining => {
            tracing::debug!("the connection timed out");
            End::Broken
        }
    }
}
