//! The JSON of `/v1`, for the handlers, the OpenAPI document and the commands.
#![expect(
    missing_docs,
    reason = "members without a description, which the OpenAPI document would repeat, hold what their names say"
)]

mod audit;
mod decision;
mod effects;
mod explained;
mod identity;
mod lists;
mod problem;
mod server;

pub use audit::{AuditEvent, AuditReason, UnknownName};
pub use decision::{DecideRequest, Decision, DenialKind, Feed, PrincipalName, Verdict};
pub use effects::{Effects, IdentityHeaders};
pub use explained::{Explained, Fate, Inquiry, Misfit, Reading, RouteMode, Tried};
pub use identity::{
    AlgorithmName, Changes, Identities, Identity, Line, NewIdentity, NewParameters, Parameters,
    Rotation, Seed, State, Strength, Throttle, Unreadable,
};
pub use lists::{Attention, Condition, ConditionCount, Sort, ThrottledIdentity};
pub use problem::{FieldError, Problem};
pub use server::{
    AuditLines, Capability, Key, Keys, Node, Realm, Realms, Route, Routes, Status, Store,
    Throttled, Totals, Upstream,
};
