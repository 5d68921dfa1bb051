//! Metrics, logs and traces, and that none of them holds a secret.

mod leaks;
mod lines;
mod logs;
mod metrics;
mod observability;
pub(crate) mod traces;
