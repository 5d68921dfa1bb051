//! Which route a request falls under: its target in one reading, and the table of routes.

pub(crate) mod input;
pub(crate) mod route;
pub(crate) mod target;
