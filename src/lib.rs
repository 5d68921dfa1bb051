//! An authentication gateway for microservices: three doors, one authority.

pub mod auth;
pub mod config;
pub mod headers;
pub mod store;
