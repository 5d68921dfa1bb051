//! Tests of the real binary with real sockets and clients, as users run it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod audit;
mod authentication;
mod clients;
mod commands;
mod forward_auth;
mod harness;
mod listeners;
mod operation;
mod page;
mod project;
mod proxy;
mod python;
mod rest;
mod store;
mod telemetry;
mod vectors;
