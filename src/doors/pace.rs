//! Gives every rejected credential the same visible response time.
//!
//! A cached principal is rejected faster than one that must be read from the database, so the
//! response time would reveal which names exist. So each rejection waits for the end of a time slot
//! that began with the decision. No thread is blocked meanwhile.

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::auth::Denial;

/// The length of a slot: longer than a read from a database that is not overloaded.
const SLOT: Duration = Duration::from_millis(5);

/// Waits for the end of the slot if `denial` could reveal a principal or a correct token. `began`
/// is the beginning of the decision.
pub(crate) async fn even_out(began: Instant, denial: &Denial) {
    match denial {
        Denial::InvalidCredential { .. } | Denial::Throttled { .. } => {
            let end = end_of_slot(began, began.elapsed());
            if sleep_until(end).await.is_err() {
                // No file descriptor is available. This timer is up to a millisecond late.
                tokio::time::sleep_until(end.into()).await;
            }
        }
        // These reveal nothing about other principals.
        Denial::NoCredential
        | Denial::Malformed(_)
        | Denial::NotAllowed
        | Denial::Unavailable(_) => {}
    }
}

fn end_of_slot(began: Instant, elapsed: Duration) -> Instant {
    let slots = elapsed.as_nanos() / SLOT.as_nanos() + 1;
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    began + SLOT.saturating_mul(slots)
}

/// Waits for a kernel timer. tokio's timer rounds the remaining time up to whole milliseconds,
/// counted from the end of the work, so the response time would depend on the work.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe; an OwnedFd keeps its file descriptor, so this is sound"
)]
async fn sleep_until(end: Instant) -> io::Result<()> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    let left = end.saturating_duration_since(Instant::now());
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let once = Itimerspec {
        it_interval: zero,
        it_value: Timespec {
            tv_sec: left.as_secs().cast_signed(),
            // A timer of 0 would never expire.
            tv_nsec: left.subsec_nanos().max(1).into(),
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    timer.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_any_length_ends_with_a_slot() {
        let began = Instant::now();
        let end = |elapsed| end_of_slot(began, elapsed) - began;
        assert_eq!(end(Duration::ZERO), SLOT);
        assert_eq!(end(SLOT - Duration::from_nanos(1)), SLOT);
        assert_eq!(end(SLOT), 2 * SLOT);
        assert_eq!(end(SLOT * 7 + Duration::from_nanos(1)), 8 * SLOT);
    }

    #[tokio::test]
    async fn timer_ends_at_its_time_and_not_before() {
        for millis in [0, 1, 5] {
            let end = Instant::now() + Duration::from_millis(millis);
            sleep_until(end).await.unwrap();
            assert!(Instant::now() >= end);
        }
    }
}
