//! The right to evaluate one more attempt, which the nodes on one database share.
//!
//! Each node evaluates the free attempts at a principal by its own counts. For each further one it
//! needs a claim, of which there is one per delay over all nodes. Where a principal is trusted,
//! nodes need none, so that its right tokens never wait for the database.

use std::time::Duration;

use super::scope::Scope;

/// The right to evaluate one more attempt at a principal or an unknown name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// [`Scope::Known`] or [`Scope::Unknown`].
    pub scope: Scope,
    /// A keyed hash of the principal.
    pub tag: [u8; 16],
    /// The delay that a failure would begin. Nobody else gets the right meanwhile.
    pub lasts: Duration,
}

/// The response of the store to a [`Claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The process has the claim. The number distinguishes it from a later one of another process,
    /// which may have it if the first process was too slow.
    Granted(i64),
    /// Nobody gets it for this long.
    Denied(Duration),
}

/// Whether the process has a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// It makes one if it needs one.
    No,
    /// It has one, or is not asked for one.
    Yes,
}
