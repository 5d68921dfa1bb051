//! Taking over the identities of another system.
//!
//! [`Source`] reads what is there, without changing it; [`Plan`] says what becomes of each row; the store
//! takes all that come in at once, or none.

mod django;
mod outcome;
mod plan;
mod postgres;
mod reading;
mod rows;
mod source;
mod sqlite;

pub use django::{ReadError, Row};
pub use outcome::{Note, Outcome, Reason, Reserved};
pub use plan::{Draft, FEW_BITS, LEAST_BITS, Plan, Planned, Taken};
pub use reading::Bounds;
pub use source::{Source, SourceError};
