//! Limits the output per second that strangers can cause.

use std::time::Instant;

use parking_lot::Mutex;

/// The average size of a line in bytes. Most are shorter; long names can make one ten times as
/// long.
const BYTES: usize = 512;

/// The usage of the current second.
#[derive(Debug)]
pub(crate) struct Budget {
    start: Instant,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    second: u64,
    lines: u32,
    bytes: usize,
}

impl Budget {
    /// Returns whether another line fits into a limit of `lines` lines per second.
    pub(crate) fn has_room(&self, lines: u32) -> bool {
        Self::has(&self.now(), lines, 0)
    }

    /// Takes the room for a line of `bytes` bytes. Returns whether there was enough.
    pub(crate) fn take(&self, lines: u32, bytes: usize) -> bool {
        let mut spent = self.now();
        let has_room = Self::has(&spent, lines, bytes);
        if has_room {
            spent.lines += 1;
            spent.bytes += bytes;
        }
        has_room
    }

    /// Adds bytes to the line for which room was last taken.
    pub(crate) fn add(&self, bytes: usize) {
        self.now().bytes += bytes;
    }

    fn has(spent: &Spent, lines: u32, bytes: usize) -> bool {
        let most = (lines as usize).saturating_mul(BYTES);
        // The first line always fits, however long it is.
        spent.lines < lines && (spent.lines == 0 || spent.bytes + bytes <= most)
    }

    fn now(&self) -> parking_lot::MutexGuard<'_, Spent> {
        let second = self.start.elapsed().as_secs();
        let mut spent = self.spent.lock();
        if spent.second != second {
            *spent = Spent {
                second,
                ..Spent::default()
            };
        }
        spent
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            spent: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all room of one second.
    fn taken(lines: u32, bytes: usize) -> (u32, usize) {
        loop {
            let budget = Budget::default();
            let second = budget.now().second;
            let count = (0..2 * lines).filter(|_| budget.take(lines, bytes)).count();
            let spent = budget.now();
            if spent.second == second {
                assert_eq!(spent.lines as usize, count);
                return (spent.lines, spent.bytes);
            }
        }
    }

    #[test]
    fn lines_and_bytes_of_a_second_are_bounded() {
        assert_eq!(taken(100, 400), (100, 40_000));
        assert_eq!(taken(100, 5_120), (10, 51_200));
        assert_eq!(taken(100, 5_121).0, 9);
        assert_eq!(taken(0, 1), (0, 0));
    }

    #[test]
    fn line_that_is_longer_than_the_budget_fits_once() {
        assert_eq!(taken(1, 30_000), (1, 30_000));
        assert_eq!(taken(5, 30_000), (1, 30_000));
    }

    #[test]
    fn next_second_has_a_budget_of_its_own() {
        let budget = Budget::default();
        while budget.take(3, 10) {}
        let spent = budget.now().second;
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        while budget.now().second == spent {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert!(budget.has_room(3));
    }
}
