//! Identities in PostgreSQL, shared by several processes on several machines.
//!
//! All statements are unnamed and typed, and no session state is kept, so that everything works
//! through PgBouncer in transaction mode.

mod claims;
mod clock;
mod connect;
mod copy;
mod counters;
mod database;
mod fault;
mod holder;
mod identities;
mod insert;
mod inspect;
mod keys;
mod lists;
mod log;
mod nodes;
mod open;
mod password;
mod pool;
mod query;
mod rows;
mod schema;
mod server;
mod sessions;
mod spent;
mod ssl_mode;
mod tail;
mod timeline;
mod tls;
mod transaction;

pub(crate) use copy::{CopyTarget, Snapshot, look_before_copy};
pub(crate) use inspect::inspect;
pub(crate) use keys::PostgresKeys;
pub(crate) use open::open;
pub use password::Password;
pub use server::{Server, UrlError};
