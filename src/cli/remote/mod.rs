//! Runs commands on a server over its administration API.

mod bulk;
mod identity;
mod server;
mod target;

pub(super) use bulk::bulk;
pub(super) use identity::{Changed, change, create, delete, each, find};
pub(super) use server::{Server, connect};
pub(super) use target::{Remote, Target};
