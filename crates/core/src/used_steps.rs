//! One-time use of tokens (RFC 6238 §5.2): records which steps of an identity have been used.
//!
//! Steps count, not the text of tokens. Using a step also closes the steps before it, so the used
//! steps form ranges. A new range begins where a step lies far above all others, as after a pause,
//! or when the clock jumps forward. When the clock comes back, the steps between two ranges are
//! still open, and used steps stay used.

use super::totp::Step;

/// The maximum number of ranges. Beyond it, the two nearest ranges are merged.
const RANGES: usize = 64;

/// The used steps of an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedSteps {
    /// First and last step of each range, both inclusive, in ascending order and not adjacent.
    ranges: Vec<(u64, u64)>,
}

impl UsedSteps {
    /// Returns a record in which all steps up to one, inclusive, are used.
    pub fn up_to(step: Step) -> Self {
        Self {
            ranges: vec![(0, step.0)],
        }
    }

    /// Marks a step as used, and the earlier steps whose tokens could still be accepted. Returns
    /// whether the step was unused. `window` is the number of steps accepted on each side of the
    /// current one.
    pub fn use_step(&mut self, step: Step, window: u8) -> bool {
        let Step(step) = step;
        if self.holds(step) {
            return false;
        }
        // The steps that can be accepted at the same time as this one.
        let reach = 2 * u64::from(window);
        let mut merged = (step.saturating_sub(reach), step);
        self.ranges.retain(|&(first, last)| {
            let is_near = last.saturating_add(1) >= merged.0 && first <= merged.1;
            if is_near {
                merged = (merged.0.min(first), merged.1.max(last));
            }
            !is_near
        });
        let place = self.ranges.partition_point(|it| it.0 < merged.0);
        self.ranges.insert(place, merged);
        if self.ranges.len() > RANGES {
            self.close_smallest_gap();
        }
        true
    }

    /// Merges the two nearest ranges. Wide gaps stay open: if a clock was ahead when later steps
    /// were used, the present lies in such a gap.
    fn close_smallest_gap(&mut self) {
        let gaps = self.ranges.iter().zip(self.ranges.iter().skip(1));
        let gaps = gaps.map(|(one, next)| next.0.saturating_sub(one.1));
        if let Some((at, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) {
            let next = self.ranges.remove(at + 1);
            if let Some(one) = self.ranges.get_mut(at) {
                one.1 = next.1;
            }
        }
    }

    fn holds(&self, step: u64) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|&(first, last)| (first..=last).contains(&step))
    }

    /// Encodes the ranges: two big-endian numbers of eight bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.ranges.iter().flat_map(|it| [it.0, it.1]);
        numbers.flat_map(u64::to_be_bytes).collect()
    }

    /// Decodes the output of [`UsedSteps::to_bytes`]; `None` if the bytes are invalid.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let (pairs, odd) = numbers.as_chunks::<2>();
        let ranges = pairs
            .iter()
            .map(|&[first, last]| (u64::from_be_bytes(first), u64::from_be_bytes(last)))
            .collect::<Vec<_>>();
        let is_ordered = ranges.iter().all(|it| it.0 <= it.1)
            && ranges.is_sorted_by(|one, other| one.1 < other.0);
        (rest.is_empty() && odd.is_empty() && is_ordered).then_some(Self { ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn use_step(used: &mut UsedSteps, step: u64) -> bool {
        let is_had = used.use_step(Step(step), 1);
        assert_eq!(
            UsedSteps::from_bytes(&used.to_bytes()).as_ref(),
            Some(&*used)
        );
        is_had
    }

    #[test]
    fn step_is_used_once_and_none_before_it() {
        let mut used = UsedSteps::default();
        assert!(use_step(&mut used, 100));
        // A step whose token has expired need not be recorded.
        for step in [100, 99, 98] {
            assert!(!use_step(&mut used, step), "{step}");
        }
        assert!(use_step(&mut used, 101));
        assert!(use_step(&mut used, 103));
        assert!(!use_step(&mut used, 102));
    }

    #[test]
    fn clock_set_forward_and_back_locks_nobody_out_and_makes_no_used_step_usable() {
        let mut used = UsedSteps::default();
        assert!(use_step(&mut used, 100));
        for step in 220..300 {
            assert!(use_step(&mut used, step));
        }
        // The clock may already be ahead when the identity is first used.
        let mut first = UsedSteps::default();
        assert!(use_step(&mut first, 220) && use_step(&mut first, 101));
        // When the clock is back, the next step is open, and used steps are not.
        assert!(use_step(&mut used, 101));
        assert!(!use_step(&mut used, 101) && !use_step(&mut used, 100));
        for step in 102..=217 {
            assert!(use_step(&mut used, step), "{step}");
        }
        for step in 218..300 {
            assert!(!use_step(&mut used, step), "{step}");
        }
        assert!(use_step(&mut used, 300));
    }

    #[test]
    fn clock_a_year_ahead_for_many_uses_locks_nobody_out() {
        const YEAR: u64 = 365 * 24 * 120;
        let mut used = UsedSteps::default();
        for step in [100, 103] {
            assert!(use_step(&mut used, step));
        }
        for use_of_day in 0..300 {
            assert!(use_step(&mut used, YEAR + use_of_day * 2880));
        }
        for step in 104..100_000 {
            assert!(use_step(&mut used, step), "{step}");
        }
    }

    #[test]
    fn clock_set_back_makes_no_used_step_usable() {
        let mut used = UsedSteps::default();
        for step in 100..400 {
            use_step(&mut used, step);
        }
        assert!((98..400).all(|step| !use_step(&mut used, step)));
    }

    #[test]
    fn pauses_take_bounded_memory() {
        let mut used = UsedSteps::default();
        for pause in 1..10_000 {
            assert!(use_step(&mut used, pause * 50));
            assert!(!use_step(&mut used, pause * 50));
        }
        assert_eq!(used.to_bytes().len(), RANGES * 16);
        assert!(!use_step(&mut used, 50));
    }

    #[test]
    fn steps_up_to_one_are_used_and_the_next_is_not() {
        let mut used = UsedSteps::up_to(Step(100));
        assert!(!use_step(&mut used, 0) && !use_step(&mut used, 100));
        assert!(use_step(&mut used, 101));
    }

    #[test]
    fn last_steps_of_time_do_not_overflow() {
        let mut used = UsedSteps::default();
        assert!(use_step(&mut used, u64::MAX));
        assert!(!use_step(&mut used, u64::MAX));
        assert!(UsedSteps::default().use_step(Step(0), 10));
    }

    #[test]
    fn invalid_bytes_are_not_parsed() {
        for bytes in [&[0; 7][..], &[0; 8], &[0; 15], &[0; 32], &[255; 24]] {
            assert_eq!(UsedSteps::from_bytes(bytes), None, "{bytes:?}");
        }
        let backwards = [1_u64, 0].map(u64::to_be_bytes).concat();
        assert_eq!(UsedSteps::from_bytes(&backwards), None);
    }
}
