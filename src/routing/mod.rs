//! Finds the route of a request: reads its target in one way, and looks it up in the route table.

pub(crate) mod input;
pub(crate) mod route;
pub(crate) mod target;
