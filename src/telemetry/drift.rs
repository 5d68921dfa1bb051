//! The clock offset of callers, as a distribution over all accepted tokens.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::auth::{Permit, Proof};

/// The maximum of `totp.window`.
const MOST: i64 = 10;

/// Accepted tokens, by time step relative to the current one.
#[derive(Debug, Default)]
pub(super) struct Drift([AtomicU64; 2 * MOST as usize + 1]);

impl Drift {
    /// Counts the token of a permit.
    pub(super) fn count(&self, permit: &Permit) {
        if let Proof::Token { offset, .. } = permit.proof() {
            self.count_steps(offset);
        }
    }

    fn count_steps(&self, steps: i64) {
        let place = usize::try_from(steps.saturating_add(MOST)).ok();
        if let Some(count) = place.and_then(|place| self.0.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the histogram as text. Its bounds below zero rule out a sum, which could decrease (OpenMetrics 1.0,
    /// "Histogram"), and prometheus-client cannot write one without a sum.
    pub(super) fn write(&self, text: &mut String) -> fmt::Result {
        let name = "realmgate_totp_step_offset";
        writeln!(
            text,
            "# HELP {name} Accepted tokens, by time step relative to the current one.\n\
             # TYPE {name} histogram"
        )?;
        let mut below = 0;
        for (steps, count) in (-MOST..).zip(&self.0) {
            below += count.load(Ordering::Relaxed);
            writeln!(text, "{name}_bucket{{le=\"{steps}.0\"}} {below}")?;
        }
        writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {below}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_up_to_the_largest_window() {
        let drift = Drift::default();
        for steps in [-11, -10, -1, 0, 0, 10, 11] {
            drift.count_steps(steps);
        }
        let mut text = String::new();
        drift.write(&mut text).unwrap();
        for line in [
            "{le=\"-10.0\"} 1\n",
            "{le=\"-2.0\"} 1\n",
            "{le=\"-1.0\"} 2\n",
            "{le=\"0.0\"} 4\n",
            "{le=\"9.0\"} 4\n",
            "{le=\"10.0\"} 5\n",
            "{le=\"+Inf\"} 5\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
