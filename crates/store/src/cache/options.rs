use std::time::Duration;

/// Sizes and lifetimes of the cache.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// The maximum number of cached identities.
    pub capacity: u64,
    /// The maximum number of cached unknown principals.
    pub unknown_capacity: u64,
    /// The lifetime of a cached identity.
    pub ttl: Duration,
    /// The lifetime of a cached unknown principal.
    pub unknown_ttl: Duration,
    /// How long cached identities stay valid while the database fails.
    pub stale_if_error: Duration,
    /// The realm for which `stale_if_error` is 0: that of the administrators.
    pub admin_realm: Option<Box<str>>,
}

impl Default for CacheOptions {
    /// Returns 10,000 identities and as many unknown principals, each for an hour.
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            capacity: 10_000,
            unknown_capacity: 10_000,
            ttl: hour,
            unknown_ttl: hour,
            stale_if_error: hour,
            admin_realm: None,
        }
    }
}
