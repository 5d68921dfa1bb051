//! Identities in PostgreSQL, which several processes on several machines share.
//!
//! Every statement is unnamed and typed, and no state is kept in a session, so that all of it works through
//! PgBouncer in transaction mode.

mod connect;
mod counters;
mod database;
mod fault;
mod identities;
mod insert;
mod keys;
mod open;
mod password;
mod pool;
mod query;
mod rows;
mod schema;
mod server;
mod ssl_mode;
mod tail;
mod timeline;
mod tls;
mod transaction;

pub(crate) use keys::PostgresKeys;
pub(crate) use open::open;
pub use password::Password;
pub use server::{Server, UrlError};
