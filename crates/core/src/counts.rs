//! Failure counts and uses, as they are saved.

use super::sweeps::Sweep;
use super::throttle::ThrottleRecord;
use super::usage::Use;

/// Saved failure counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The key of the hashes in record tags.
    pub key: [u8; 16],
    /// The records.
    pub records: Vec<ThrottleRecord>,
    /// The stamp of the last record.
    pub stamp: i64,
}

/// Failure counts and uses recorded by decisions, saved as one batch.
#[derive(Clone, Debug, Default)]
pub struct UsageBatch {
    /// Failure counts.
    pub counts: Vec<ThrottleRecord>,
    /// Uses of identities.
    pub uses: Vec<Use>,
    /// Which saved failure counts are still needed, if the others are to be deleted now.
    pub sweep: Option<Sweep>,
}
