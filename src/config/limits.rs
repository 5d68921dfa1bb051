//! How much is taken in.

use super::Limits;
use super::error::ConfigError;
use super::raw;
use super::source::Source;

/// The most fields and bytes of a header that are read before any limit of ours is asked.
const FIELDS_READ: i64 = 256;
const BYTES_READ: i64 = 1024 * 1024 - 1;

impl Source<'_> {
    pub(super) fn limits(&self, raw: &raw::Limits) -> Result<Limits, ConfigError> {
        let number = |key: &str, raw: &raw::Opt<i64>, default, range| {
            self.number(&format!("limits.{key}"), raw.as_ref(), default, range)
        };
        Ok(Limits {
            header_bytes: number("header_bytes", &raw.header_bytes, 65_536, 1024..=BYTES_READ)?,
            header_fields: number("header_fields", &raw.header_fields, 100, 8..=FIELDS_READ)?,
            target_bytes: number("target_bytes", &raw.target_bytes, 8192, 256..=BYTES_READ)?,
            body_bytes: number(
                "body_bytes",
                &raw.body_bytes,
                65_536,
                1024..=16 * 1024 * 1024,
            )?,
            drain_bytes: number("drain_bytes", &raw.drain_bytes, 16 << 20, 0..=1 << 30)?,
            connections: number("connections", &raw.connections, 20_000, 1..=1_000_000)?,
            connections_per_address: number(
                "connections_per_address",
                &raw.connections_per_address,
                1_000,
                1..=1_000_000,
            )?,
        })
    }
}
