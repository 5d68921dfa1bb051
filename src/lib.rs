//! An authentication gateway for microservices: three doors, one authority.

pub mod api;
pub mod auth;
pub mod config;
pub mod headers;
pub mod store;
