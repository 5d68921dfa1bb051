//! The decision core: authenticates a caller, and decides whether the request may pass.
//!
//! The core knows no HTTP, no SQL and no clock. A door passes an [`Attempt`] and the time, and gets
//! a [`Decision`]. The steps are the same at each door:
//!
//! [`Presented`] → [`Authority::decide`] → [`Authenticator`] → [`Policy`] → [`Permit`] or [`Denial`].
//!
//! [`LocalAuthenticator`] authenticates the [`Identities`] of a store by their tokens ([`Totp`]), and throttles
//! failures.

mod authority;
mod checked;
mod checks;
mod claims;
mod clock_offset;
mod confirm;
mod counts;
mod creation;
mod credential;
mod decision;
mod derived;
mod foresight;
mod id;
mod identity;
mod keyed_hash;
mod lately;
mod listing;
mod local;
mod matching;
mod node;
mod policy;
mod principal;
mod rare;
mod realm;
mod record;
mod resume;
mod saving;
mod seed;
mod seeds;
mod session;
mod store;
mod store_error;
mod sweeps;
mod throttle;
mod time;
mod totp;
mod usage;
mod used_steps;

pub use authority::{Authenticator, Authority};
pub use creation::{Created, Creation, ImportedIdentity, NewIdentity, Once, REMEMBERED};
pub use credential::{Credential, Flaw, Presented, Token, split_user};
pub use decision::{Attempt, Authenticated, Decision, Denial, DenialCause, Permit, Proof};
pub use derived::Derived;
pub use foresight::Foresight;
pub use id::IdentityId;
pub use identity::{History, Identity, State, Version};
pub use listing::{
    BadRow, Condition, Listing, Order, Page, Position, RealmCount, RealmTotals, Rows, Selection,
    SortValue, Tally,
};
pub use local::{LocalAuthenticator, Settings};
pub use node::{MOST_NODES, Node, NodeId, Nodes, SeenNode, SeenNodes};
pub use policy::{Mode, Names, Policy, Rule};
#[cfg(test)]
pub(crate) use principal::tricky;
pub use principal::{NAME_CHARS, Principal, PrincipalError, PrincipalRef, trim};
pub use rare::{Rare, Terms};
pub use realm::{Capability, Realms};
pub use seed::{Seed, SeedError, Strength};
pub use seeds::{Previous, SeedSlot, Seeds};
pub use session::{Session, SessionId, SessionKind, SessionSecret};
pub use store::{
    Administration, Change, ChangeError, ChangeLog, Changed, ChangesAfter, Counters, Counts,
    Deleted, Identities, Imported, Recall, Sessions, Store, StoreError, UsageBatch,
};
pub use sweeps::Sweep;
pub use throttle::{
    Claim, ClaimOutcome, Delay, Failures, Party, Scope, Source, ThrottleRecord, ThrottleSettings,
    Throttled, network,
};
pub use time::UnixTime;
pub use totp::{Algorithm, Parameters, ParametersError, Step, Totp};
pub use usage::{Usage, Use};
pub use used_steps::UsedSteps;
