use std::time::Duration;

/// How guessing is slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// The failures of a principal without a delay, at least 1.
    pub failures: u32,
    /// The failures of a source without a delay, at least 1.
    pub source_failures: u32,
    /// The first delay, in whole seconds. Each further failure doubles it.
    pub delay: Duration,
    /// The longest delay.
    pub longest_delay: Duration,
    /// How long after the last failure the count begins anew.
    pub forget: Duration,
    /// How long a source counts by itself after a principal has proved itself there.
    pub trust: Duration,
    /// The most principals, invented names, sources, and principals at sources that are counted, each.
    pub capacity: usize,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            source_failures: 50,
            delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(15 * 60),
            forget: Duration::from_secs(24 * 60 * 60),
            trust: Duration::from_secs(24 * 60 * 60),
            capacity: 65_536,
        }
    }
}
