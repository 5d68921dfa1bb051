use std::time::Duration;

use super::debt::Pace;

/// The settings of throttling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// The number of failures of a principal without a delay, at least 1.
    pub failures: u32,
    /// The number of failures of a source without a delay, at least 1.
    pub source_failures: u32,
    /// The first delay, in whole seconds. Each further failure doubles it.
    pub delay: Duration,
    /// The longest delay.
    pub longest_delay: Duration,
    /// The time after which one failure is forgiven, at least 1 s. Four times as long at sources
    /// where the principal is trusted.
    pub forgive: Duration,
    /// The time after the last failure when all are forgiven.
    pub forget: Duration,
    /// How long a source is trusted after a principal has authenticated there.
    pub trust: Duration,
    /// The maximum number of principals, of unknown names, of sources, and of trusted sources of
    /// principals counted.
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

/// How failures are counted, by scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paces {
    /// Of a principal at sources where it is not trusted.
    pub(super) principal: Pace,
    /// Of a source.
    pub(super) source: Pace,
    /// Of a principal at one source where it is trusted, and at all of them.
    pub(super) trusted: Pace,
    /// The failures at all trusted sources beyond which a trusted source with failures of its own
    /// is closed.
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
