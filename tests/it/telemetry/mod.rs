//! Metrics, logs and traces; none of them contains a secret.

mod leaks;
mod lines;
mod logs;
mod metrics;
mod observability;
pub(crate) mod traces;
