//! Metrics, logs, traces and the audit log, and that none of them holds a secret.

mod audit;
mod leaks;
mod lines;
mod logs;
mod metrics;
mod observability;
pub(crate) mod traces;
