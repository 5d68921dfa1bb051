//! Imports identities from another system.
//!
//! [`Source`] reads the rows without changing them, [`Plan`] decides about each row, and the store
//! inserts them in batches.

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
pub use plan::{FEW_BITS, LEAST_BITS, Plan, PlanBuilder, Planned, Taken};
pub use reading::Bounds;
pub use source::{Source, SourceError};
