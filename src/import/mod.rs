//! Taking over the identities of another system.
//!
//! [`Source`] reads what is there, without changing it; [`Plan`] says what becomes of each row; the store
//! takes all that come in at once, or none.

mod django;
mod plan;
mod postgres;
mod sqlite;

pub use django::{ReadError, Row, Source, SourceError};
pub use plan::{Note, Outcome, Plan, Planned, Reason};
