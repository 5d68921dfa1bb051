use std::time::Duration;

/// How the cache behaves.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// The most identities remembered.
    pub capacity: u64,
    /// The most unknown principals remembered.
    pub unknown_capacity: u64,
    /// How long an identity is remembered before it is read again.
    pub ttl: Duration,
    /// How long it is remembered that a principal is unknown.
    pub unknown_ttl: Duration,
    /// How long identities go on counting while the database does not answer.
    pub stale_if_error: Duration,
}
