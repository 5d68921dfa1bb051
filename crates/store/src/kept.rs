//! Bounds of the stored failure counts, for any kind of database.

/// The maximum number of counts kept per scope. Those saved longest ago are deleted first.
pub(crate) const KEPT: i64 = 125_000;

/// The number of saved counts after which excess ones are deleted.
pub(crate) const SWEEP_AFTER: usize = 10_000;

/// The maximum number of counts per read.
pub(crate) const READ: i64 = 20_000;
