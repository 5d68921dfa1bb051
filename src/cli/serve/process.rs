use super::changes::Changes;
use super::metrics::ConfigMetrics;
use crate::audit::Audit;
use crate::telemetry::Telemetry;

/// The parts that belong to the process, not to the server in it.
pub(super) struct Process<'a> {
    pub(super) telemetry: &'a Telemetry,
    pub(super) audit: &'a Audit,
    pub(super) metrics: ConfigMetrics,
    pub(super) changes: Changes,
}
