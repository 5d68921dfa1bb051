use std::time::Duration;

use super::debt::Pace;

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
    /// One failure is forgiven each time this has passed, at least 1 s. At sources where the principal is
    /// trusted it takes four times as long.
    pub forgive: Duration,
    /// How long after the last failure all are forgiven.
    pub forget: Duration,
    /// How long a source is trusted after a principal has authenticated there.
    pub trust: Duration,
    /// The most principals, unknown names, sources, and trusted sources of principals that are counted, each.
    pub capacity: usize,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            source_failures: 50,
            delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(15 * 60),
            forgive: Duration::from_secs(15 * 60),
            forget: Duration::from_secs(24 * 60 * 60),
            trust: Duration::from_secs(24 * 60 * 60),
            capacity: 65_536,
        }
    }
}

/// How failures are counted, by where they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paces {
    /// Of a principal at sources where it is not trusted.
    pub(super) principal: Pace,
    /// Of a source.
    pub(super) source: Pace,
    /// Of a principal at one source where it is trusted, and at all of them.
    pub(super) trusted: Pace,
    /// The failures at all trusted sources beyond which a trusted source that has some of its own is closed.
    pub(super) shared: u32,
    /// The failures at all trusted sources beyond which all of them are closed.
    pub(super) all: u32,
}

impl Paces {
    pub(super) fn new(settings: ThrottleSettings) -> Self {
        let principal = Pace {
            free: settings.failures,
            delay: settings.delay.as_secs(),
            longest: settings.longest_delay.as_secs(),
            forgive: settings.forgive.as_secs().max(1),
            forget: settings.forget.as_secs(),
        };
        Self {
            principal,
            source: Pace {
                free: settings.source_failures,
                ..principal
            },
            trusted: Pace {
                forgive: principal.forgive.saturating_mul(4),
                ..principal
            },
            shared: settings.failures.saturating_mul(2),
            all: settings.failures.saturating_mul(3),
        }
    }
}
