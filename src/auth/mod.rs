//! The decision core: who a caller is, and whether they may pass.
//!
//! Nothing here knows HTTP, SQL or a clock: a door hands in an [`Attempt`] and the time, and gets a
//! [`Decision`] back. The way is the same at each door:
//!
//! [`Presented`] → [`Authority::decide`] → [`Store`] → [`Totp`] → [`Policy`] → [`Permit`] or
//! [`Denial`].

mod authority;
mod credential;
mod decision;
mod policy;
mod principal;
mod realm;
mod seed;
mod store;
mod time;
mod totp;

pub use authority::{Authority, Settings};
pub use credential::{Credential, Flaw, Presented, Token, split_user};
pub use decision::{Attempt, Decision, Denial, Permit, Refusal};
pub use policy::{Policy, Rule};
pub use principal::{NAME_CHARS, Principal, PrincipalError, PrincipalRef, trim};
pub use realm::{Capability, Realms};
pub use seed::{Seed, SeedError, Strength};
pub use store::{
    Change, ChangeError, Identity, IdentityId, ImportedIdentity, NewIdentity, Recall, State, Store,
    StoreError,
};
pub use time::UnixTime;
pub use totp::{Algorithm, Parameters, ParametersError, Step, Totp};
