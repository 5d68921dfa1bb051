//! Bounds of the stored failure counts, for any kind of database.

/// The maximum number of forgotten counts deleted at once.
pub(crate) const SWEPT: i64 = 20_000;

/// The number of batches after which a count without a failure is deleted. By then, every process
/// has read it.
pub(crate) const READ_BY_ALL: i64 = 100;

/// The maximum number of counts per read.
pub(crate) const READ: i64 = 20_000;
