//! Where identities live: SQLite ([`sqlite`]) behind a cache ([`cache`]), seeds sealed ([`seal`]).

mod cache;
mod changes;
mod guard;
mod key_file;
mod open;
mod pool;
mod rows;
mod seal;
mod sqlite;

pub use cache::{CacheOptions, Cached};
pub use key_file::KeyFileError;
pub use open::{OpenError, Options, open};
pub use seal::KeyId;
